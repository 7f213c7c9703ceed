from __future__ import annotations

import json
import locale
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from engines import ZOO, check_batch, load_engine
from engines.errors import UserError
from engines.fake import FakeEngine
from engines.manifest import sha256_of, verify, write_entry
from engines.precision import fastest, files_of
from tests.conftest import LABELS, expression_spec
from tests.networks import Tiny, write_tiny


def faces(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48, 1), np.uint8)


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """Return a folder with the same network as .onnx and as .pt2."""
    folder = tmp_path_factory.mktemp("artefacts")
    write_tiny(folder)
    return folder


@pytest.mark.parametrize("name", ["tiny.onnx", "tiny.pt2"])
@pytest.mark.parametrize("count", [0, 1, 3, 8, 33])
def test_every_backend_agrees_with_the_source_model_at_any_batch(artefacts, name, count):
    engine = load_engine(artefacts / name, "expression", precision="f32")
    batch = faces(count)
    answer = engine.infer(batch)["probabilities"]
    with torch.inference_mode():
        expected = Tiny().eval()(torch.from_numpy(batch))[0].numpy() if count else np.zeros((0, len(LABELS)))
    assert answer.shape == (count, len(LABELS))
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    engine.close()


@pytest.mark.parametrize("name", ["tiny.onnx", "tiny.pt2"])
def test_outputs_are_the_callers_to_keep(artefacts, name):
    engine = load_engine(artefacts / name, "expression")
    first = engine.infer(faces(2, seed=1))["probabilities"]
    kept = first.copy()
    engine.infer(faces(2, seed=2))
    np.testing.assert_array_equal(first, kept)
    engine.close()


@pytest.mark.parametrize("name", ["tiny.onnx", "tiny.pt2"])
def test_the_spec_travels_inside_the_artefact(artefacts, name):
    engine = load_engine(artefacts / name, "expression")
    assert engine.spec == expression_spec(name="tiny")
    engine.close()


@pytest.mark.parametrize("name", ["tiny.onnx", "tiny.pt2"])
@pytest.mark.parametrize("shape", [(1, 47, 48, 1), (1, 48, 48, 3), (48, 48, 1)])
def test_a_batch_that_does_not_fit_is_refused_with_both_shapes(artefacts, name, shape):
    engine = load_engine(artefacts / name, "expression")
    with pytest.raises(ValueError, match=r"expected \(N, 48, 48, 1\) uint8, found"):
        engine.infer(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float32"):
        engine.infer(np.zeros((1, 48, 48, 1), np.float32))
    engine.close()


def test_what_a_user_can_get_wrong_is_one_line(artefacts, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a model file"):
        load_engine(tmp_path / "missing.onnx", "expression")
    with pytest.raises(ValueError, match=r"unknown model suffix '\.bin': expected one of \.onnx"):
        load_engine(tmp_path / "x.bin", "expression")
    for name in ("broken.onnx", "broken.pt2"):
        (tmp_path / name).write_bytes(b"not a model")
        with pytest.raises(ValueError, match=f"{name}: not a"):
            load_engine(tmp_path / name, "expression")
    with pytest.raises(ValueError, match="carries no spec"):
        load_engine(artefacts / "bare.onnx", "expression")
    with pytest.raises(ValueError, match="expected a network for detection, found one for expression"):
        load_engine(artefacts / "tiny.onnx", "detection")
    with pytest.raises(ValueError, match="precision 'f8'"):
        load_engine(artefacts / "tiny.onnx", "expression", precision="f8")


def test_a_model_that_takes_no_pictures_is_refused_in_one_line(artefacts, tmp_path):
    model = onnx.load(artefacts / "tiny.onnx")
    constant = numpy_helper.from_array(np.zeros((1, 8), np.float32), "probabilities")
    graph = helper.make_graph([], "still", [], list(model.graph.output), [constant])
    still = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    still.metadata_props.extend(model.metadata_props)
    onnx.save(still, tmp_path / "still.onnx")
    with pytest.raises(UserError, match=r"still.onnx: does not fit its spec 'tiny': expected an input, found none"):
        load_engine(tmp_path / "still.onnx", "expression", precision="f32")


@pytest.mark.parametrize(
    ("text", "said"), [(b'"name":"tiny"', "its spec is not valid: not UTF-8"), (b"Softmax", "not a readable model")]
)
def test_a_model_with_damaged_text_is_refused_in_one_line(artefacts, tmp_path, text, said):
    path = tmp_path / "damaged.onnx"
    whole = (artefacts / "tiny.onnx").read_bytes()
    assert text in whole
    path.write_bytes(whole.replace(text, text[:3] + b"\xde" + text[4:]))
    with pytest.raises(UserError, match=f"damaged.onnx: {said}"):
        load_engine(path, "expression", precision="f32")


def test_a_checksum_that_does_not_fit_is_refused(artefacts, tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes((artefacts / "tiny.onnx").read_bytes())
    write_entry(path)
    verify(path, None)
    load_engine(path, "expression", sha256=sha256_of(path).upper()).close()
    with pytest.raises(ValueError, match="expected sha256 0{64}, found"):
        load_engine(path, "expression", sha256="0" * 64)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="damaged or another version"):
        load_engine(path, "expression")


def test_a_graph_whose_shapes_cannot_be_is_refused_before_it_runs(tmp_path):
    """Its sizes are free, so only a run would tell, and OpenVINO then writes where it may not."""
    model = onnx.load(ZOO / "attention.onnx")
    pads = [each for node in model.graph.node for each in node.attribute if each.name == "pads" and any(each.ints)]
    pads[-3].ints[:] = [0, 0, 0, 0]
    onnx.save(model, tmp_path / "unsound.onnx")
    with pytest.raises(ValueError, match="does not fit its spec 'attention'"):
        load_engine(tmp_path / "unsound.onnx", "expression", precision="f32")
    load_engine(ZOO / "attention.onnx", "expression", precision="f32").close()


def rewritten(path, out, change):
    """Copy an archive; `change` maps each member's name and bytes to those of the copy, None leaves it out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if changed := change(name, old.read(name)):
                new.writestr(*changed)
    return out


def test_pickles_are_never_loaded(artefacts):
    with pytest.raises(ValueError, match="sample_inputs.*no pickled data"):
        load_engine(artefacts / "pickled.pt2", "expression")


@pytest.mark.parametrize(
    ("part", "old", "new", "told"),
    [
        ("model_weights_config.json", b'"use_pickle": false', b'"use_pickle": true', "use_pickle 'True'"),
        ("model_weights_config.json", b'"path_name": "weight_0"', b'"path_name": "opaque_obj_0"', "path_name"),
        ("model.json", b"Symbol('s", b"exec('s", "expr_str"),
        ("model.json", b"torch.ops.aten.softmax.int", b"torch.hub.load", "target 'torch.hub.load'"),
        ("model.json", b'"guards_code": []', b'"guards_code": ["exit()"]', "guards_code"),
    ],
)
def test_an_archive_that_would_have_something_run_is_refused(artefacts, tmp_path, part, old, new, told):
    def change(name, data):
        if not name.endswith(part):
            return name, data
        assert old in data
        assert json.loads(data.replace(old, new))
        return name, data.replace(old, new)

    path = rewritten(artefacts / "tiny.pt2", tmp_path / "evil.pt2", change)
    with pytest.raises(ValueError, match=rf"evil\.pt2: holds {told}") as refused:
        load_engine(path, "expression")
    assert "\n" not in str(refused.value)


def test_a_program_without_a_spec_or_with_a_broken_graph_is_refused_in_a_line(artefacts, tmp_path):
    def without_spec(name, data):
        return None if name.endswith("/spec") else (name, data)

    def without_nodes(name, data):
        return name, data.replace(b'"nodes"', b'"notes"') if name.endswith("model.json") else data

    for change, told in (
        (without_spec, "carries no spec; ours are written by"),
        (without_nodes, "not a readable exported program: "),
    ):
        path = rewritten(artefacts / "tiny.pt2", tmp_path / "other.pt2", change)
        with pytest.raises(ValueError, match=rf"other\.pt2: {told}") as refused:
            load_engine(path, "expression")
        assert "\n" not in str(refused.value)
    path = rewritten(artefacts / "tiny.pt2", tmp_path / "other.pt2", without_spec)
    load_engine(path, "expression", spec=expression_spec()).close()


@pytest.mark.parametrize("name", ["tiny/data/weights/model.pt", "serialized_state_dict.pt", "../tiny/extra/spec"])
def test_an_archive_with_an_unknown_member_is_refused(artefacts, tmp_path, name):
    path = rewritten(artefacts / "tiny.pt2", tmp_path / "evil.pt2", lambda member, data: (member, data))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ValueError, match=f"holds the member '{name}'"):
        load_engine(path, "expression")


def test_an_archive_with_a_member_twice_or_packed_is_refused(artefacts, tmp_path):
    twice = rewritten(artefacts / "tiny.pt2", tmp_path / "twice.pt2", lambda name, data: (name, data))
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("tiny/models/model.json", b"{}")
    packed = rewritten(
        artefacts / "tiny.pt2", tmp_path / "packed.pt2", lambda name, data: (name, data, zipfile.ZIP_DEFLATED)
    )
    for path in (twice, packed):
        with pytest.raises(ValueError, match=f"{path.name}: holds"):
            load_engine(path, "expression")


@pytest.fixture
def with_int8(artefacts, tmp_path):
    """Write the network with an int8 form beside it that answers otherwise, so that it is told apart."""
    proto = onnx.load(artefacts / "tiny.onnx")
    onnx.save(proto, tmp_path / "tiny.onnx")
    onnx.helper.set_model_props(proto, {"spec": expression_spec(name="tiny.int8").model_dump_json()})
    onnx.save(proto, tmp_path / "tiny.int8.onnx")
    write_entry(tmp_path / "tiny.int8.onnx")
    return tmp_path / "tiny.onnx"


def test_the_int8_form_serves_where_it_is_asked_for_or_fastest(with_int8, artefacts):
    files = files_of(with_int8, "auto", ("f32", "bf16", "int8"), pinned=False)
    beside = with_int8.with_name("tiny.int8.onnx")
    assert files == {"f32": with_int8, "bf16": with_int8, "int8": beside}
    engine = load_engine(with_int8, "expression", precision="int8")
    assert engine.spec.name == "tiny.int8"
    engine.close()
    assert files_of(beside, "auto", ("f32",), pinned=False) == {"int8": beside}
    assert files_of(with_int8, "auto", ("f32", "int8"), pinned=True) == {"f32": with_int8}
    with pytest.raises(ValueError, match=r"needs tiny\.int8\.onnx beside it"):
        load_engine(artefacts / "tiny.onnx", "expression", precision="int8")
    beside.write_bytes(beside.read_bytes() + b"0")
    with pytest.raises(ValueError, match="damaged or another version"):
        load_engine(with_int8, "expression", precision="int8")


class Timed(FakeEngine):
    def __init__(self, name, seconds):
        super().__init__(expression_spec(name=name), lambda batch: time.sleep(seconds) or {})


def test_the_fastest_precision_is_measured_once_and_remembered(tmp_path):
    remembered, opened = tmp_path / "precision.json", []

    def option(name, seconds):
        def opening():
            opened.append(Timed(name, seconds))
            return opened[-1]

        return opening

    options = {"f32": option("f32", 0.06), "bf16": option("bf16", 0.02), "int8": option("int8", 0.0199)}
    best = fastest(options, "key", remembered)
    assert best.spec.name == "bf16"  # one per cent is not worth a coarser precision
    assert [engine.closed for engine in opened] == [True, False, True]
    opened.clear()
    assert fastest(options, "key", remembered).spec.name == "bf16"
    assert len(opened) == 1
    remembered.write_text("{damaged")
    assert fastest(options, "key", remembered).spec.name == "bf16"
    assert json.loads(remembered.read_text()) == {"key": "bf16"}


def test_a_damaged_or_unwritable_cache_costs_no_run(artefacts, tmp_path, caplog):
    load_engine(artefacts / "tiny.onnx", "expression", cache=tmp_path).close()
    blobs = list((tmp_path / "openvino").iterdir())
    assert blobs
    for blob in blobs:
        blob.chmod(0o600)
        blob.write_bytes(b"damaged")
    engine = load_engine(artefacts / "tiny.onnx", "expression", cache=tmp_path)
    assert engine.infer(faces(2))["probabilities"].shape == (2, len(LABELS))
    engine.close()
    (tmp_path / "file").write_text("no folder")
    load_engine(artefacts / "tiny.onnx", "expression", cache=tmp_path / "file").close()
    assert "no cache for compiled models" in caplog.text


def test_a_spec_that_promises_a_missing_output_is_refused(artefacts, tmp_path):
    proto = onnx.load(artefacts / "tiny.onnx")
    onnx.helper.set_model_props(proto, {"spec": expression_spec(outputs=("probabilities", "cam")).model_dump_json()})
    onnx.save(proto, tmp_path / "tiny.onnx")
    with pytest.raises(ValueError, match=r"promises the output \['cam'\]"):
        load_engine(tmp_path / "tiny.onnx", "expression")


def test_the_fake_engine_checks_like_a_real_one():
    engine = FakeEngine(expression_spec(), lambda batch: {"probabilities": np.zeros((len(batch), 8), np.float32)})
    with pytest.raises(ValueError, match="expected"):
        engine.infer(np.zeros((1, 2, 3, 1), np.uint8))
    check_batch(faces(2), engine.spec)


def test_every_shipped_model_is_listed_has_a_card_and_loads():
    listed = json.loads((ZOO / "manifest.json").read_text())
    shipped = {path.name for path in ZOO.iterdir() if path.suffix in (".onnx", ".pt2")}
    assert shipped == set(listed)
    for name in shipped:
        assert (ZOO / name).with_suffix(".md").is_file()
        assert (ZOO / name).stat().st_size < 20e6
        tasks = {"detector": "detection", "landmarks": "landmarks"}
        load_engine(ZOO / name, tasks.get(name.split(".")[0], "expression")).close()


def test_nothing_calls_home_and_the_core_needs_no_torch():
    program = (
        "import sys, threading, engines.openvino, streamer.commands.run\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_signal_after_the_last_engine_was_closed_reaches_its_handler():
    program = (
        "import os, signal, sys; from pathlib import Path; from engines import load_engine\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "engine = load_engine(Path(sys.argv[1]), 'expression'); engine.close(); del engine\n"
        "os.kill(os.getpid(), signal.SIGINT)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ZOO / "face.onnx"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@pytest.mark.gpu
def test_the_torch_backend_takes_the_gpu_and_agrees(artefacts):
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    engine = load_engine(artefacts / "tiny.pt2", "expression")
    batch = faces(16)
    with torch.inference_mode():
        expected = Tiny().eval()(torch.from_numpy(batch))[0].numpy()
    np.testing.assert_allclose(engine.infer(batch)["probabilities"], expected, atol=2e-3)
    assert torch.cuda.memory_allocated() > 0
    engine.close()


def test_engines_that_compile_at_the_same_time_leave_the_locale_as_it_was(tmp_path):
    before = locale.setlocale(locale.LC_CTYPE)

    def compile_often(name, task):
        for number in range(3):
            load_engine(ZOO / name, task, precision="f32", cache=tmp_path / f"{name}-{number}").close()

    models = (("face.onnx", "expression"), ("landmarks.onnx", "landmarks"))
    threads = [threading.Thread(target=compile_often, args=model) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert locale.setlocale(locale.LC_CTYPE) == before
