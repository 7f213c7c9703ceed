"""The TensorRT backend without TensorRT: a stand-in drives every branch, the real wheel's source is the contract."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import types
import zipfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tqdm
from typer.testing import CliRunner

import engines.tensorrt as backend
from engines import OutOfMemory, Unbuildable, load_engine
from engines.cuda import Runner
from engines.fake import FakeEngine
from engines.fallback import FallbackEngine
from engines.manifest import write_entry
from engines.precision import int8_name
from engines.tensorrt import TensorRtEngine, _place, narrowed, plan_of
from engines.torch import CudaEngine, int8, read_program
from tests.conftest import LABELS, expression_spec
from tests.engines.test_engines import faces
from train.expression.quantise import rounded
from train.expression.served import graph_of

tqdm.tqdm.monitor_interval = 0  # else tqdm, of which torch.fx makes bars, leaves a thread behind


class Small(torch.nn.Module):
    """A convolution, a normalisation and a softmax: what precision touches."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = torch.nn.Conv2d(1, 8, 3, stride=4), torch.nn.BatchNorm2d(8)
        self.fc = torch.nn.Linear(8, len(LABELS))

    def forward(self, images):
        pictures = images.permute(0, 3, 1, 2).float() / 255
        features = torch.relu(self.norm(self.conv(pictures))).mean(dim=(2, 3))
        return torch.softmax(self.fc(features), dim=1), features


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.pt2"
    dynamic = {"images": {0: torch.export.Dim("n", min=1, max=4096)}}
    example = (torch.zeros(2, 48, 48, 1, dtype=torch.uint8),)
    program = torch.export.export(Small().eval(), example, dynamic_shapes=dynamic)
    program._example_inputs = None
    spec = expression_spec(name="small", outputs=("probabilities", "features")).model_dump_json()
    torch.export.save(program, path, extra_files={"spec": spec})
    return path


@pytest.fixture(scope="module")
def quantised_model(model, tmp_path_factory):
    """Return the model with its int8 form beside it, calibrated on what it will see."""
    model = Path(shutil.copy(model, tmp_path_factory.mktemp("quantised")))
    spec = expression_spec(name="small.int8", outputs=("probabilities", "features"))
    graph_of(rounded(model, faces(64)), spec, faces(2), ".pt2")(spec, int8_name(model))
    write_entry(int8_name(model))
    return model


SCHEMA = "(Tensor input, Tensor amax, int num_bits, int exponent_bits, bool unsigned, bool narrow_range) -> Tensor"


@pytest.fixture
def modelopt(monkeypatch):
    """Play nvidia-modelopt, of which the backend needs the operator that it registers."""
    library = torch.library.Library("tensorrt", "FRAGMENT")
    library.define(f"quantize_op{SCHEMA}")

    def quantize(values, amax, bits, exponent, unsigned, narrow):
        assert (bits, exponent, unsigned, narrow) == (8, 0, False, False)
        return int8(values, amax)

    library.impl("quantize_op", quantize, "CompositeExplicitAutograd")
    library._register_fake("quantize_op", lambda values, *rest: torch.empty_like(values))
    for name in ("modelopt", "modelopt.torch", "modelopt.torch.quantization"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["modelopt"].__spec__ = ModuleSpec("modelopt", None)
    yield
    library._destroy()


class StandIn(types.ModuleType):
    """Play torch_tensorrt: a plan is a name under which the graph is remembered."""

    def __init__(self):
        super().__init__("torch_tensorrt")
        self.__spec__ = ModuleSpec("torch_tensorrt", None)
        self.programs, self.built, self.failure, self.wrong = {}, 0, None, 0.0
        dynamo: Any = types.ModuleType("torch_tensorrt.dynamo")
        dynamo.runtime = types.ModuleType("torch_tensorrt.dynamo.runtime")
        dynamo.convert_exported_program_to_serialized_trt_engine = self.convert
        dynamo.runtime.TorchTensorRTModule = self.run
        self.dynamo = dynamo

    def Input(self, **shapes):  # noqa: N802
        assert set(shapes) == {"min_shape", "opt_shape", "max_shape", "dtype"}
        return shapes

    def convert(self, program, arg_inputs, **settings):
        if self.failure:
            raise self.failure
        self.operators = {str(node.target) for node in program.graph.nodes}
        if "engines.int8.default" in self.operators:
            raise RuntimeError("unknown operator engines.int8")
        assert arg_inputs[0]["max_shape"] == (256, 48, 48, 1)
        self.built += 1
        plan = f"plan {self.built}".encode()
        self.programs[plan] = program.module()
        return plan

    def run(self, plan, input_binding_names, output_binding_names, *, name):
        assert (input_binding_names, output_binding_names) == (["images"], ["output0", "output1"])
        if plan not in self.programs:
            raise RuntimeError("cannot deserialize")
        return lambda pictures: tuple(value + self.wrong for value in self.programs[plan](pictures))


@pytest.fixture
def tensorrt(monkeypatch):
    stand_in = StandIn()
    for name, module in (
        ("torch_tensorrt", stand_in),
        ("torch_tensorrt.dynamo", stand_in.dynamo),
        ("torch_tensorrt.dynamo.runtime", stand_in.dynamo.runtime),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(TensorRtEngine, "DEVICE", "cpu")
    monkeypatch.setattr(TensorRtEngine, "why_not", staticmethod(lambda: None))
    there = {"gpu": "stand-in", "torch": torch.__version__, "torch_tensorrt": "0"}
    monkeypatch.setattr(backend, "platform", lambda: there)
    return stand_in


@pytest.mark.parametrize("precision", ["f32", "bf16", "f16"])
def test_a_plan_is_built_once_and_agrees_with_the_network(tensorrt, model, tmp_path, precision):
    for count in (0, 1, 300):
        engine = load_engine(model, "expression", precision=precision, cache=tmp_path)
        found = engine.infer(faces(count))
        engine.close()
        expected = Small().eval()(torch.from_numpy(faces(count)))[0].detach().numpy()
        assert found["probabilities"].shape == (count, len(LABELS))
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6 if precision == "f32" else 5e-3)
    assert tensorrt.built == 1


def test_auto_is_f16_and_the_graph_computes_so(tensorrt, model, tmp_path):
    load_engine(model, "expression", cache=tmp_path).close()
    assert [file.name for file in (tmp_path / "tensorrt").rglob("*.plan")] == ["small.f16.plan"]
    program, spec = read_program(model, None)
    dtypes = {
        node.meta["val"].dtype
        for node in narrowed(program, spec, "f16").graph.nodes
        if "conv2d" in str(node.target) or "linear" in str(node.target)
    }
    assert dtypes == {torch.float16}


def test_two_models_of_one_name_have_a_plan_each(tmp_path):
    places = {_place(tmp_path / folder / "face.pt2", "f16", tmp_path) for folder in ("a", "b")}
    assert len(places) == 2
    assert _place(tmp_path / "a" / "face.int8.pt2", "f16", tmp_path) in places


def test_an_int8_plan_says_in_tensorrts_words_what_is_rounded(tensorrt, modelopt, quantised_model, tmp_path):
    engine = load_engine(quantised_model, "expression", precision="int8", cache=tmp_path)
    found = engine.infer(faces(5))["probabilities"]
    engine.close()
    assert "tensorrt.quantize_op.default" in tensorrt.operators
    assert [file.name for file in (tmp_path / "tensorrt").rglob("*.plan")] == ["small.int8.plan"]
    exact = Small().eval()(torch.from_numpy(faces(5)))[0].detach().numpy()
    assert not np.array_equal(found, exact)
    np.testing.assert_allclose(found, exact, atol=0.02)
    plan = plan_of(quantised_model, "int8", tmp_path)
    assert plan.name == "small.int8.plan"
    assert tensorrt.built == 1


def test_the_faster_of_both_plans_serves(tensorrt, modelopt, quantised_model, tmp_path, caplog):
    caplog.set_level("INFO")
    load_engine(quantised_model, "expression", cache=tmp_path).close()
    assert {file.name for file in (tmp_path / "tensorrt").rglob("*.plan")} == {"small.f16.plan", "small.int8.plan"}
    assert "measured on this processor: f16" in caplog.text


def test_without_modelopt_there_is_no_int8_plan(tensorrt, quantised_model, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "modelopt", None)
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    load_engine(quantised_model, "expression", cache=tmp_path).close()
    assert [file.name for file in (tmp_path / "tensorrt").rglob("*.plan")] == ["small.f16.plan"]
    with pytest.raises(Unbuildable, match=r"an int8 plan needs nvidia-modelopt \(extra gpu\)"):
        plan_of(quantised_model, "int8", tmp_path)
    # asked for all the same: the next backend rounds as the plan would
    engine = load_engine(quantised_model, "expression", precision="int8", cache=tmp_path)
    assert engine.spec.name == "small.int8"
    engine.close()
    assert "TensorRtEngine does not serve: small.int8.pt2: TensorRT builds no plan: an int8 plan needs" in caplog.text


def test_where_int8_cannot_be_built_f16_serves(tensorrt, modelopt, quantised_model, tmp_path, monkeypatch, caplog):
    build = tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine

    def only_floats(program, arg_inputs, **settings):
        if any("quantize_op" in str(node.target) for node in program.graph.nodes):
            raise RuntimeError("no int8 kernel")
        return build(program, arg_inputs, **settings)

    tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine = only_floats
    load_engine(quantised_model, "expression", cache=tmp_path).close()
    assert [file.name for file in (tmp_path / "tensorrt").rglob("*.plan")] == ["small.f16.plan"]
    assert "not in int8: small.int8.pt2: TensorRT builds no plan: no int8 kernel" in caplog.text
    assert "does not serve" not in caplog.text


def test_an_int8_plan_of_a_model_without_such_a_form_is_refused(tensorrt, model, tmp_path):
    model = Path(shutil.copy(model, tmp_path))
    with pytest.raises(ValueError, match=r"precision 'int8' needs small\.int8\.pt2 beside it"):
        plan_of(model, "int8", tmp_path)


@pytest.mark.parametrize("damage", ["plan", "json", "version", "gone"])
def test_a_plan_that_does_not_fit_is_built_again(tensorrt, model, tmp_path, caplog, damage):
    load_engine(model, "expression", cache=tmp_path).close()
    [plan] = (tmp_path / "tensorrt").rglob("small.f16.plan")
    about = plan.with_suffix(".json")
    if damage == "plan":
        plan.write_bytes(b"damaged")
    elif damage == "json":
        about.write_text("{")
    elif damage == "gone":
        about.unlink()
    else:
        values = json.loads(about.read_text())
        values["key"]["gpu"] = "another"
        about.write_text(json.dumps(values))
    load_engine(model, "expression", cache=tmp_path).close()
    assert tensorrt.built == 2
    assert "built again" in caplog.text
    load_engine(model, "expression", cache=tmp_path).close()
    assert tensorrt.built == 2


@pytest.mark.parametrize("failure", [RuntimeError("no tactic\nmore"), NotImplementedError(), AssertionError("dims")])
def test_where_no_plan_can_be_built_the_next_backend_serves(tensorrt, model, tmp_path, caplog, failure):
    tensorrt.failure = failure
    engine = load_engine(model, "expression", cache=tmp_path)
    assert engine.infer(faces(2))["probabilities"].shape == (2, len(LABELS))
    engine.close()
    assert "TensorRtEngine does not serve: small.pt2: TensorRT builds no plan" in caplog.text


def test_a_plan_that_disagrees_does_not_serve(tensorrt, model, tmp_path, caplog):
    tensorrt.wrong = 0.1
    load_engine(model, "expression", cache=tmp_path).close()
    assert "disagrees with the network" in caplog.text


def test_a_plan_that_does_not_load_does_not_serve(tensorrt, model, tmp_path, caplog):
    load_engine(model, "expression", cache=tmp_path).close()
    tensorrt.programs.clear()
    load_engine(model, "expression", cache=tmp_path).close()
    assert "the plan does not load: cannot deserialize" in caplog.text


def test_without_a_cache_the_plan_is_built_at_every_start(tensorrt, model):
    for _ in range(2):
        load_engine(model, "expression").close()
    assert tensorrt.built == 2


def test_where_memory_ends_fewer_pictures_go_at_once_and_none_is_lost():
    sizes = []

    def module(pictures):
        sizes.append(len(pictures))
        if len(pictures) > 50:
            raise torch.cuda.OutOfMemoryError
        return (pictures.float().mean(dim=(1, 2, 3), keepdim=False)[:, None],)

    runner = Runner(module, expression_spec(outputs=("mean",)), torch.device("cpu"))
    batch = faces(200)
    np.testing.assert_allclose(runner(batch)["mean"][:, 0], batch.mean(axis=(1, 2, 3)), rtol=1e-4)
    assert sizes == [200, 128, 64, 32, 32, 32, 32, 32, 32, 8]


def test_where_not_one_picture_fits_the_next_backend_takes_the_batch():
    def full(pictures):
        raise torch.cuda.OutOfMemoryError

    spec = expression_spec()
    runner = Runner(full, spec, torch.device("cpu"))
    other = FakeEngine(spec, lambda batch: {"probabilities": np.ones((len(batch), 8), np.float32)})
    engine = FallbackEngine({"gpu": lambda: FakeEngine(spec, runner), "cpu": lambda: other})
    assert len(engine.infer(faces(5))["probabilities"]) == 5
    assert other.batch_sizes == [5]
    engine.close()
    assert other.closed
    with pytest.raises(Unbuildable, match="no backend is left"):
        FallbackEngine({"gpu": lambda: FakeEngine(spec, runner)}).infer(faces(1))
    with pytest.raises(OutOfMemory, match="no memory left on the GPU for one picture"):
        runner(faces(1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_without_a_gpu_a_plan_is_refused_in_one_line_and_the_log_says_who_serves(model, caplog):
    result = CliRunner().invoke(_train_app(), ["export", str(model), "--target", "tensorrt"])
    assert isinstance(result.exception, ValueError)
    assert str(result.exception) == "a TensorRT plan is built on the GPU that runs it: there is no NVIDIA GPU"
    result = CliRunner().invoke(_train_app(), ["export", str(model), "--target", "other"])
    assert "--target other: expected tensorrt" in str(result.exception)
    caplog.set_level("INFO")
    load_engine(model, "expression").close()
    assert "not by TensorRtEngine: there is no NVIDIA GPU" in caplog.text
    assert CudaEngine.why_not() == "there is no NVIDIA GPU"


def test_the_export_builds_a_plan_into_the_users_cache(tensorrt, model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = CliRunner().invoke(_train_app(), ["export", str(model), "--target", "tensorrt", "--precision", "bf16"])
    assert result.exit_code == 0, result.output
    assert Path(result.stdout.strip()).read_bytes() == b"plan 1"


def _train_app():
    from train.__main__ import app

    return app


def _wheel(folder, wanted):
    """Return the source of a wheel, without its dependencies; skip where it cannot be had."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--timeout", "10", "--retries", "0"]
    try:
        done = subprocess.run([*command, wanted], cwd=folder, capture_output=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{wanted} did not arrive within two minutes")
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        pytest.skip(f"{wanted} cannot be had here")
    return zipfile.ZipFile(found[0])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the torch-tensorrt wheel that goes with the installed torch."""
    series = ".".join(torch.__version__.split(".")[:2])
    return _wheel(tmp_path_factory.mktemp("wheel"), f"torch-tensorrt=={series}.*")


def _functions(wheel, file):
    """Return the parameters of every function and method of a file, by dotted name."""
    found = {}
    for node in ast.parse(wheel.read(file)).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in inside:
            if isinstance(function, ast.FunctionDef):
                name = f"{node.name}.{function.name}" if isinstance(node, ast.ClassDef) else function.name
                arguments = function.args
                found[name] = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return found


def _calls(name):
    """Return the keywords of every call of `name` in our backend, and how many arguments stand before them."""
    tree = ast.parse(Path(backend.__file__).read_text(encoding="utf-8"))
    return [
        (len(node.args), [keyword.arg for keyword in node.keywords])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(name)
    ]


def test_every_call_fits_the_signatures_of_the_real_wheel(wheel):
    build = "convert_exported_program_to_serialized_trt_engine"
    signatures = _functions(wheel, "torch_tensorrt/dynamo/_compiler.py")
    [(positional, keywords)] = _calls(build)
    assert signatures[build][0] == "exported_program"
    assert positional == 1
    assert set(keywords) <= set(signatures[build])
    module = _functions(wheel, "torch_tensorrt/dynamo/runtime/_TorchTensorRTModule.py")["TorchTensorRTModule.__init__"]
    [(positional, keywords)] = _calls("TorchTensorRTModule")
    assert module[1 : 1 + positional] == ["serialized_engine"]
    assert set(keywords) <= set(module)


def test_names_and_inputs_are_as_the_real_wheel_has_them(wheel):
    [(_, keywords)] = _calls("torch_tensorrt.Input")
    source = wheel.read("torch_tensorrt/_Input.py").decode()
    assert all(f'"{keyword}"' in source for keyword in keywords)
    assert 'f"output{i}"' in wheel.read("torch_tensorrt/dynamo/conversion/_TRTInterpreter.py").decode()
    exported = wheel.read("torch_tensorrt/dynamo/__init__.py").decode()
    assert "convert_exported_program_to_serialized_trt_engine" in exported
    assert "TorchTensorRTModule" in wheel.read("torch_tensorrt/dynamo/runtime/__init__.py").decode()
    assert "from torch_tensorrt._Input import Input" in wheel.read("torch_tensorrt/__init__.py").decode()


def test_the_operator_for_int8_is_the_one_that_the_real_wheels_know(wheel, tmp_path):
    source = wheel.read("torch_tensorrt/dynamo/conversion/aten_ops_converters.py").decode()
    assert "import modelopt.torch.quantization" in source
    assert "torch.ops.tensorrt.quantize_op.default, supports_dynamic_shapes=True" in source
    takes = _functions(wheel, "torch_tensorrt/dynamo/conversion/impl/quantize.py")["quantize"]
    assert takes[4:] == ["input_tensor", "amax", "num_bits", "exponent_bits"]
    modelopt = _wheel(tmp_path, "nvidia-modelopt>=0.40")
    tree = ast.parse(modelopt.read("modelopt/torch/quantization/tensor_quant.py"))
    defined = {
        ast.literal_eval(node.args[0]): ast.literal_eval(node.args[1])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.library.define"
    }
    assert defined["tensorrt::quantize_op"] == SCHEMA
    assert len(backend.QUANTIZE) == SCHEMA.count(",") - 1


def test_nothing_is_pickled_and_tensorrt_is_not_called_directly():
    source = Path(backend.__file__).read_text(encoding="utf-8")
    names = {name.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for name in node.names}
    assert not names & {"pickle", "tensorrt"}


@pytest.mark.gpu
def test_a_real_plan_agrees_with_the_network(model, tmp_path):
    if reason := TensorRtEngine.why_not():
        pytest.skip(reason)
    engine = TensorRtEngine(model, spec=None, precision="f16", threads=1, cache=tmp_path)
    expected = Small().eval()(torch.from_numpy(faces(70)))[0].detach().numpy()
    np.testing.assert_allclose(engine.infer(faces(70))["probabilities"], expected, atol=5e-3)
    engine.close()
