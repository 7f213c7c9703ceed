"""The architectures: their structure is pinned, and every one answers, learns and starts from given weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from engines import load_engine
from streamer.config import load_config
from train import models
from train.expression.config import TrainConfig
from train.models.classic import FEATURES
from train.models.inputs import Contrast, Diffusion, Zca
from train.models.layers import normalise

ZOO = Path(__file__).parents[3] / "engines/zoo"
PRESETS = sorted((Path(__file__).parents[3] / "configs/train").glob("[a-e]_*.yaml"))

# Small enough to train in a moment, of the same build.
SMALL: dict[str, dict[str, Any]] = {
    "residual": {"widths": [8, 16], "blocks": [1, 1], "dropout": 0},
    "vgg_region": {"size": 24, "plan": [8, 8, 0, 16, 0]},
    "densenet": {"blocks": [2, 2]},
    "baseline": {"size": 24, "dropout": 0},
    "attention": {"dropout": 0},
    "attention_symmetric": {"dropout": 0},
    "attention_gap": {"dropout": 0},
    "resnet18": {"widths": [8, 16], "blocks": [1, 1]},
    "zca_net": {"size": 24, "widths": [8], "kernels": [5], "hidden": [32], "prepare": ["gcn", {"zca": {"size": 24}}]},
    "three_layer": {"size": 24, "widths": [8], "hidden": [32], "weight_scale": 0.05},
    "alexnet": {"size": 24, "widths": [8, 8, 16, 16, 16], "hidden": [32], "dropout": 0},
    "vgg16": {"size": 24, "plan": [8, 0, 16, 0], "hidden": [32], "dropout": 0},
    "inception": {"stem": 16, "stages": [[32], [32]], "dropout": 0},
    "inception_resnet": {"widths": [16, 32, 64], "blocks": [1, 1, 1], "dropout": 0},
}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(name: str, classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    network = models.build(name, classes, 1, SMALL[name])
    models.fit_inputs(network, np.random.default_rng(0).integers(0, 256, (700, 24, 24, 1), np.uint8))
    return network


def pictures(n: int = 4, height: int = 24, width: int = 24) -> torch.Tensor:
    return torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize(
    ("name", "classes", "args", "expected"),
    [
        ("densenet", 8, {}, 753_840),  # Lian et al., our reading
        ("vgg_region", 8, {}, 3_539_272),  # Lian et al., our reading
        ("baseline", 7, {}, 360_720),  # Sun et al., Table 2
        ("baseline", 7, {"size": 272}, 563_216),
        ("attention", 7, {}, 313_749),  # Table 3: 313,682 without the two biases
        ("attention_symmetric", 7, {}, 313_749),
        ("attention_gap", 7, {}, 305_168),
        ("resnet18", 7, {}, 11_173_831),  # Liu
        ("zca_net", 7, {}, 2_456_583),  # Nishime et al., our reading
        ("three_layer", 7, {}, 9_221_607),  # Rao & Li: 32 filters of 7x7, 500 units
        ("alexnet", 7, {}, 10_059_463),
        ("vgg16", 7, {}, 15_242_439),
        ("inception", 7, {}, 1_796_775),
        ("inception_resnet", 7, {}, 1_997_927),
        ("residual", 8, {}, 2_702_024),
    ],
)
def test_the_structure_of_every_system_is_pinned(name: str, classes: int, args: dict[str, Any], expected: int) -> None:
    assert parameters(models.build(name, classes, 1, args)) == expected


def test_the_shipped_network_keeps_its_names_so_that_checkpoints_stay_loadable() -> None:
    names = set(models.build("residual", 8, 1, {}).state_dict())
    expected = {"stem.0.weight", "stem.1.running_var", "blocks.1.first.0.weight", "blocks.1.second.1.weight"}
    assert expected | {"blocks.1.skip.1.weight", "blocks.1.skip.2.bias", "head.fc.weight", "head.fc.bias"} <= names


@pytest.mark.parametrize("name", list(models.BUILDERS))
def test_every_network_answers_logits_features_and_consistent_maps(name: str) -> None:
    network = small(name).eval()
    with torch.inference_mode():
        output = network(pictures())
    assert output.logits.shape == (4, 4)
    assert output.features.shape[0] == 4
    assert all(value.isfinite().all() for value in output.present().values())
    if output.cam is not None:
        last = next(module for name, module in network.named_modules() if name.split(".")[-1] == "fc")
        assert isinstance(last, nn.Linear)
        bias = 0 if last.bias is None else last.bias
        torch.testing.assert_close(output.cam.mean(dim=(2, 3)) + bias, output.logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", list(models.BUILDERS))
def test_every_network_learns_a_handful_of_pictures(name: str) -> None:
    network = small(name).train()
    labels = torch.arange(16) % 4
    stripes = torch.sin(torch.arange(24) * 2 * torch.pi / (3 + 3 * labels[:, None, None, None]))
    images = pictures(16) / 4 + 90 + 60 * stripes
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(12):
        loss = F.cross_entropy(network(images).logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.9 * losses[0]


def test_attention_weighs_positions_and_sums_to_one() -> None:
    output = small("attention")(pictures(2, 64, 48))
    assert output.attention is not None
    assert output.attention.shape == (2, 4, 3)
    torch.testing.assert_close(output.attention.sum(dim=(1, 2)), torch.ones(2))
    assert output.attention.std() > 0


def test_symmetric_attention_is_its_own_mirror_image() -> None:
    attention = small("attention_symmetric")(pictures(2, 64, 48)).attention
    torch.testing.assert_close(attention, attention.flip(2))
    torch.testing.assert_close(attention.sum(dim=(1, 2)), torch.ones(2))


def test_uniform_attention_is_global_average_pooling() -> None:
    network: Any = small("attention_gap").eval()
    images = pictures(2, 64, 48)
    maps = network.layers(network.prepare(images))
    torch.testing.assert_close(network(images).features, maps.mean(dim=(2, 3)))


@pytest.mark.parametrize("size", [(144, 112), (272, 272), (90, 250)])
def test_attention_runs_on_pictures_of_any_size(size: tuple[int, int]) -> None:
    network = models.build("attention", 7, 1, {"prepare": ["diffusion", "standardise"]}).eval()
    with torch.inference_mode():
        output = network(pictures(1, *size))
    assert output.logits.shape == (1, 7)
    assert output.attention.shape == (1, size[0] // 16, size[1] // 16)


def test_another_size_than_the_network_was_built_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r"built for 144x112 pictures .* found 48x48"):
        models.build("baseline", 7, 1, {})(pictures(1, 48, 48))


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("resnet19", {}, "unknown model 'resnet19': expected one of alexnet, attention"),
        ("densenet", {"depth": 3}, "model 'densenet': .*depth"),
        ("attention", {"weights": "hard"}, "expected free, symmetric or uniform, found 'hard'"),
        ("inception_resnet", {"widths": [64, 64, 64]}, "expected each stage wider than the last, found 64 after 64"),
        ("residual", {"prepare": ["whiten"]}, "unknown step 'whiten' in model.args.prepare: expected one of diffusion"),
        ("residual", {"prepare": [{"zca": {"sigma": 1}}]}, "step 'zca' in model.args.prepare: .*sigma"),
    ],
)
def test_a_wrong_name_or_argument_is_one_clear_error(name: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.build(name, 7, 1, args)


def test_normalisation_takes_brightness_and_contrast_away_and_keeps_flat_pictures_finite() -> None:
    images = pictures(2)
    torch.testing.assert_close(normalise(images), normalise(images * 0.5 + 40), atol=0.05, rtol=0.05)
    assert normalise(torch.full((1, 1, 8, 8), 200.0)).abs().max() == 0


def test_contrast_normalisation_gives_zero_mean_and_unit_variance() -> None:
    changed = Contrast()(pictures(3))
    torch.testing.assert_close(changed.mean(dim=(1, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(changed.square().mean(dim=(1, 2, 3)), torch.ones(3), atol=0.01, rtol=0)


def test_zca_makes_the_pixels_of_the_training_pictures_independent() -> None:
    random = torch.Generator().manual_seed(0)
    smooth = F.avg_pool2d(torch.rand(3000, 1, 10, 10, generator=random), 3, stride=1)
    step = Zca(size=8, channels=1, epsilon=1e-6)
    step.fit(smooth)
    white = step.eval()(smooth).flatten(1)
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(64), atol=0.03, rtol=0)
    # Zero-phase: the whitened picture stays close to the picture, unlike other whitenings.
    assert torch.corrcoef(torch.stack([white[:, 27], smooth.flatten(1)[:, 27]]))[0, 1] > 0.2


def test_zca_is_part_of_the_weights_and_has_to_be_fitted() -> None:
    network = models.build("zca_net", 4, 1, SMALL["zca_net"])
    assert "prepare.1.matrix" in network.state_dict()
    with pytest.raises(RuntimeError, match="fit the whitening to the training pictures first"):
        network(pictures())


def test_whitening_stays_exact_under_autocast() -> None:
    network: Any = small("zca_net").eval()
    exact = network.prepare(pictures())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(network.prepare(pictures()), exact)


def test_diffusion_solves_its_equation_with_mirrored_borders() -> None:
    images = pictures(1, 12, 9).double()
    step = Diffusion(smoothness=5.0)
    light = step.illumination(images)
    padded = F.pad(light, (1, 1, 1, 1), mode="replicate")
    neighbours = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    torch.testing.assert_close(light - 5.0 * (neighbours - 4 * light), images)


def test_diffusion_takes_the_light_from_one_side_away() -> None:
    texture = 0.5 + 0.1 * torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    light = torch.linspace(40, 250, 40)
    step = Diffusion(smoothness=50.0)
    even, lit = step(texture * 140), step(texture * light)

    def sides(picture: torch.Tensor) -> float:
        return float((picture[..., 30:36].mean() / picture[..., 4:10].mean()).log().abs())

    def likeness(picture: torch.Tensor) -> float:
        return float(torch.corrcoef(torch.stack([even.flatten(), picture.flatten()]))[0, 1])

    assert sides(lit) < sides(texture * light) / 4
    assert likeness(lit) > 2 * likeness(texture * light)


@pytest.mark.parametrize("kind", ["checkpoint", "safetensors"])
def test_init_starts_from_given_weights(kind: str, tmp_path: Path) -> None:
    given = small("vgg_region")
    if kind == "checkpoint":
        path = tmp_path / "checkpoint.pt"
        torch.save({"config": {}, "average": given.state_dict()}, path)
    else:
        path = tmp_path / "weights.safetensors"
        save_file(given.state_dict(), path)
    torch.manual_seed(9)
    network = models.build("vgg_region", 4, 1, SMALL["vgg_region"])
    assert models.load_weights(network, path) == []
    torch.testing.assert_close(network.eval()(pictures()).logits, given.eval()(pictures()).logits)


def test_init_from_a_shipped_artefact_answers_as_it_does_in_training_too() -> None:
    path = ZOO / "face.onnx"
    shown = torch.rand(32, 1, 48, 48, generator=torch.Generator().manual_seed(1)).mul(255).byte()
    engine = load_engine(path, "expression", precision="f32")
    wanted = torch.from_numpy(engine.infer(shown.permute(0, 2, 3, 1).numpy())["features"])
    network = models.build("residual", 8, 1, {"dropout": 0})
    assert models.load_weights(network, path) == []
    torch.testing.assert_close(network.eval()(shown.float()).features, wanted, rtol=1e-3, atol=1e-3)
    before = (network.train()(shown.float()).features - wanted).abs().max()
    models.load_weights(network, path)
    models.settle(network, shown.permute(0, 2, 3, 1).numpy())
    torch.testing.assert_close(network.eval()(shown.float()).features, wanted, rtol=1e-3, atol=1e-3)
    assert (network.train()(shown.float()).features - wanted).abs().max() < 0.01 * before


def test_a_deeper_network_begins_with_the_answers_of_a_shipped_one() -> None:
    shipped = ZOO / "face.onnx"
    images = np.random.default_rng(0).integers(0, 256, (64, 48, 48, 1), np.uint8)
    deeper = models.build("residual", 8, 1, {"blocks": [1, 3, 2]})
    assert models.load_weights(deeper, shipped) == []
    models.settle(deeper, images)
    expected = load_engine(shipped, "expression", precision="f32")
    with torch.inference_mode():
        pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        found = (deeper.eval()(pictures).logits / expected.spec.temperature).softmax(1).numpy()
    np.testing.assert_allclose(found, expected.infer(images)["probabilities"], atol=2e-3)
    expected.close()
    with pytest.raises(ValueError, match="does not fit the model"):
        models.load_weights(models.build("residual", 8, 1, {"blocks": [1, 1, 2]}), shipped)


def test_init_redraws_the_last_layer_for_other_classes_alone(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    given = small("vgg_region", classes=8)
    save_file(given.state_dict(), path)
    network = models.build("vgg_region", 7, 1, SMALL["vgg_region"])
    assert models.load_weights(network, path) == ["head.fc.weight", "head.fc.bias"]
    assert torch.equal(network.state_dict()["layers.0.0.weight"], given.state_dict()["layers.0.0.weight"])
    with pytest.raises(ValueError, match=r"weights.safetensors: does not fit the model: it (lacks|has)"):
        models.load_weights(small("densenet"), path)


def test_freezing_leaves_the_named_layers_untrained(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(small("vgg16").state_dict(), path)
    network = small("vgg16")
    models.load_weights(network, path, freeze=("layers",))
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad} == {"head"}
    with pytest.raises(ValueError, match="freeze: no parameter starts with 'features'"):
        models.load_weights(network, path, freeze=("features",))


def test_init_from_something_else_is_one_clear_error(tmp_path: Path) -> None:
    network = small("residual")
    with pytest.raises(FileNotFoundError, match="expected weights to start from, found none"):
        models.load_weights(network, tmp_path / "none.pt")
    for name in ("junk.pt", "junk.safetensors", "junk.onnx"):
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(ValueError, match=f"{name}: not readable weights"):
            models.load_weights(network, tmp_path / name)
    torch.save({"average": {"stem": "text"}}, tmp_path / "text.pt")
    with pytest.raises(ValueError, match="expected tensors by name"):
        models.load_weights(network, tmp_path / "text.pt")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_loads_and_its_network_sees_its_pictures(preset: Path) -> None:
    config = load_config(TrainConfig, preset)
    assert config.name == preset.stem
    assert config.phases[-1].size == config.input.size
    if config.model.name in FEATURES:
        return
    with torch.device("meta"):
        network = models.build(config.model.name, 7, config.input.channels, config.model.args).eval()
        for size in {phase.size for phase in config.phases}:
            shape = config.input.model_copy(update={"size": size}).shape
            assert network(torch.empty(2, config.input.channels, *shape)).logits.shape == (2, 7)


def test_there_is_a_preset_for_every_network_and_baseline() -> None:
    used = {load_config(TrainConfig, preset).model.name for preset in PRESETS}
    assert used == (set(models.BUILDERS) - {"residual"}) | set(FEATURES)
