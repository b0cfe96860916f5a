from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.bench.container import read_container
from tests.bench import trees

BARE = {
    "proc/1/cgroup": "0::/init.scope\n",
    "proc/1/mountinfo": "24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n",
}
PRIVATE = {
    "proc/1/cgroup": "0::/\n",
    "proc/1/mountinfo": "60 40 0:52 / / rw,relatime - overlay overlay rw,lowerdir=/a\n",
}


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": 'engine="podman-4.3.1"\n'}, "podman"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/secrets/kubernetes.io/serviceaccount/token": "x"}, "kubernetes"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"proc/1/environ": b"PATH=/bin\0container=systemd-nspawn\0TERM=\0"}, "systemd-nspawn"),
        ({"proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n"}, "wsl"),
    ],
)
def test_an_engine_that_leaves_a_mark_is_named(
    files: dict[str, str | bytes], kind: str, tmp_path: Path
) -> None:
    assert read_container(trees.plant(tmp_path, PRIVATE | files)) == kind


@pytest.mark.parametrize(
    ("groups", "kind"),
    [
        ("12:memory:/docker/0123\n", "docker"),
        ("0::/system.slice/docker-0123.scope\n", "docker"),
        ("0::/machine.slice/libpod-0123.scope/container\n", "podman"),
        ("11:cpu:/kubepods/besteffort/pod1/2\n", "kubernetes"),
        ("0::/lxc.payload.box\n", "lxc"),
        ("0::/machine.slice/machine-box.scope\n", "systemd-nspawn"),
    ],
)
def test_a_control_group_that_isnt_private_names_the_engine(
    groups: str, kind: str, tmp_path: Path
) -> None:
    assert read_container(trees.plant(tmp_path, {"proc/1/cgroup": groups})) == kind


def test_the_first_group_on_a_plain_disk_is_no_container(tmp_path: Path) -> None:
    assert read_container(trees.plant(tmp_path, BARE)) == ""


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/1/cgroup": "0::/\n"},
        PRIVATE,
        # Without systemd, or in a container of version 1 with private names.
        {"proc/1/cgroup": "9:cpu:/\n0::/\n"},
        # A card that is protected against writing by a layer in memory.
        BARE | {"proc/1/mountinfo": "24 1 0:20 / / rw - overlay overlay rw\n"},
        {"proc/1/cgroup": "nonsense", "proc/1/mountinfo": "a b - c", "proc/1/environ": b"\xff="},
    ],
)
def test_what_tells_nothing_is_unknown(files: dict[str, str | bytes], tmp_path: Path) -> None:
    assert read_container(trees.plant(tmp_path, files)) is None
