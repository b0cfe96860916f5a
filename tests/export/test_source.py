"""Sources and weights: what is taken, and one clear line for what isn't."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from edgekit.errors import InputError, UnknownModelError, UnsafeFileError, UsageError
from edgekit.export.source import load_source, read_state_dict

NETS = Path(__file__).with_name("nets.py")
SHAPE = (1, 3, 12, 12)


class Attack:
    """A pickle that creates a file when it is opened the unsafe way."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return load_source(f"{NETS}:net", input_shape=SHAPE).module.state_dict()


def test_a_file_s_factory_is_built_the_same_each_time() -> None:
    first = load_source(f"{NETS}:net", input_shape=SHAPE).module
    second = load_source(f"{NETS}:net", input_shape=SHAPE).module

    assert not first.training
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_package_s_factory_is_found_by_its_dotted_name() -> None:
    source = load_source("edgekit_models.squeezenet:squeezenet_fashion", input_shape=(1, 1, 28, 28))

    assert type(source.module).__name__ == "SqueezeNet"


def test_a_zoo_name_knows_its_shape_and_random_weights_can_be_asked_for() -> None:
    source = load_source("squeezenet_fashion", weights="none")

    assert source.input_shape == (1, 1, 28, 28)
    assert source.weights == "random (seed 0)"


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_weights_are_loaded_from_files(
    state: dict[str, torch.Tensor], tmp_path: Path, suffix: str
) -> None:
    changed = {name: value + 1 for name, value in state.items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(changed, path)
    else:
        torch.save({"state_dict": changed}, path)

    source = load_source(f"{NETS}:net", weights=path, input_shape=SHAPE)

    assert source.weights == path.name
    assert torch.equal(source.module.state_dict()["out.bias"], changed["out.bias"])


def test_torchvision_s_names_are_mapped(tmp_path: Path) -> None:
    published = {
        "features.0.0.weight": torch.zeros(1),
        "features.1.conv.0.0.weight": torch.zeros(1),
    }
    path = tmp_path / "published.pth"
    torch.save(published, path)

    with pytest.raises(InputError, match=r"312 missing .*stem\.norm\.weight"):
        load_source("mobilenetv2", weights=path)


@pytest.mark.parametrize("protocol", ["torch", "bare"])
def test_a_pickle_that_runs_code_is_refused_unopened(tmp_path: Path, protocol: str) -> None:
    path, target = tmp_path / "weights.pth", tmp_path / "attacked"
    if protocol == "torch":
        torch.save({"w": Attack(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Attack(target), protocol=2))

    with pytest.raises(UnsafeFileError, match="would run code when opened") as caught:
        read_state_dict(path)

    assert not target.exists()
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 half a zip"])
def test_a_damaged_weights_file_is_told_in_one_line(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)

    with pytest.raises(InputError, match="isn't a readable"):
        read_state_dict(path)


def test_a_cut_weights_file_is_told(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-500])

    with pytest.raises(InputError, match="isn't a readable torch file"):
        read_state_dict(path)


def test_other_weights_files_are_explained(tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")

    with pytest.raises(InputError, match=r"must be a \.safetensors"):
        read_state_dict(tmp_path / "w.npz")
    with pytest.raises(InputError, match="doesn't hold a state dict"):
        read_state_dict(tmp_path / "list.pt")
    with pytest.raises(InputError, match="no weights file"):
        read_state_dict(tmp_path / "absent.pt")


def test_weights_that_don_t_fit_are_told_by_name(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    renamed = {name.replace("second", "zweite"): value for name, value in state.items()}
    torch.save(renamed, path)
    with pytest.raises(InputError, match=r"2 missing \(first: second\.weight\) and 2 unknown"):
        load_source(f"{NETS}:net", weights=path, input_shape=SHAPE)

    torch.save(state | {"out.bias": torch.zeros(5)}, path)
    with pytest.raises(InputError, match=r"out\.bias is \(5,\) where \(4,\) is needed"):
        load_source(f"{NETS}:net", weights=path, input_shape=SHAPE)


@pytest.mark.parametrize(
    ("source", "complaint", "kind"),
    [
        (f"{NETS}:absent", "has no function 'absent'", UnknownModelError),
        (f"{NETS}:not_a_module", "returned int instead of a torch.nn.Module", UsageError),
        (f"{NETS}:needs_an_argument", "a factory takes no arguments", UsageError),
        ("absent.py:net", "no file absent.py", UnknownModelError),
        ("no_such_package_here:net", "can't import no_such_package_here", UnknownModelError),
        ("squeeznet1_0", "did you mean squeezenet1_0", UnknownModelError),
    ],
)
def test_a_wrong_source_is_explained(source: str, complaint: str, kind: type[UsageError]) -> None:
    with pytest.raises(kind, match=complaint):
        load_source(source, input_shape=SHAPE)


def test_a_file_that_doesn_t_import_is_told(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def net(:\n")

    with pytest.raises(UnknownModelError, match="SyntaxError"):
        load_source(f"{path}:net", input_shape=SHAPE)


def test_a_missing_input_shape_is_asked_for() -> None:
    with pytest.raises(UsageError, match="add for example --input 1,3,224,224"):
        load_source(f"{NETS}:net")


@pytest.mark.parametrize("shape", [(3,), (1, 0, 4)])
def test_an_impossible_input_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="needs a batch axis"):
        load_source(f"{NETS}:net", input_shape=shape)
