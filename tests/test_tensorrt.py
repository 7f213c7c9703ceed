"""The TensorRT backend without TensorRT: a stand-in drives every branch, the real wheel's source is the contract."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path

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
from engines.tensorrt import TensorRtEngine, narrowed
from engines.torch import CudaEngine, read_program
from tests.conftest import LABELS, expression_spec
from tests.test_engines import faces

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


class StandIn(types.ModuleType):
    """Play torch_tensorrt: a plan is a name under which the graph is remembered."""

    def __init__(self):
        super().__init__("torch_tensorrt")
        self.__spec__ = types.SimpleNamespace(name="torch_tensorrt")
        self.programs, self.built, self.failure, self.wrong = {}, 0, None, 0.0
        self.dynamo = types.ModuleType("torch_tensorrt.dynamo")
        self.dynamo.runtime = types.ModuleType("torch_tensorrt.dynamo.runtime")
        self.dynamo.convert_exported_program_to_serialized_trt_engine = self.convert
        self.dynamo.runtime.TorchTensorRTModule = self.run

    def Input(self, **shapes):  # noqa: N802
        assert set(shapes) == {"min_shape", "opt_shape", "max_shape", "dtype"}
        return shapes

    def convert(self, program, arg_inputs, **settings):
        if self.failure:
            raise self.failure
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
    assert [file.name for file in (tmp_path / "tensorrt").glob("*.plan")] == ["small.f16.plan"]
    program, spec = read_program(model, None)
    dtypes = {
        node.meta["val"].dtype
        for node in narrowed(program, spec, "f16").graph.nodes
        if "conv2d" in str(node.target) or "linear" in str(node.target)
    }
    assert dtypes == {torch.float16}


@pytest.mark.parametrize("damage", ["plan", "json", "version", "gone"])
def test_a_plan_that_does_not_fit_is_built_again(tensorrt, model, tmp_path, caplog, damage):
    load_engine(model, "expression", cache=tmp_path).close()
    plan = tmp_path / "tensorrt" / "small.f16.plan"
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the source of the torch-tensorrt wheel that goes with the installed torch, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    series = ".".join(torch.__version__.split(".")[:2])
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--timeout", "10", "--retries", "0"]
    try:
        done = subprocess.run(
            [*command, f"torch-tensorrt=={series}.*"], cwd=folder, capture_output=True, check=False, timeout=120
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the torch-tensorrt wheel did not arrive within two minutes")
    found = list(folder.glob("torch_tensorrt-*.whl"))
    if done.returncode or not found:
        pytest.skip(f"the torch-tensorrt wheel for torch {series} cannot be had here")
    return zipfile.ZipFile(found[0])


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
