"""Whether this system is a container, and of which kind."""

from __future__ import annotations

from pathlib import Path

from edgekit.bench.sysfs import read_text

_MARKS = (
    (".dockerenv", "docker"),
    ("run/secrets/kubernetes.io", "kubernetes"),
    ("run/.containerenv", "podman"),
)
"""Files that an engine puts into every container."""

_GROUPS = (
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("lxc", "lxc"),
    ("containerd", "containerd"),
    ("machine.slice", "systemd-nspawn"),
)
"""Words of a control group's path. They show where the group's names aren't private."""

_LAYERED = frozenset({"overlay", "fuse-overlayfs", "aufs"})
_FIRST_GROUP = "/init.scope"


def read_container(root: Path) -> str | None:
    """docker, podman, kubernetes, lxc, wsl, ...; "" outside of containers; None if unknown.

    With control groups of version 2 most containers see their own group as `/`, as a system
    without systemd does; so that alone tells nothing.
    """
    if "microsoft" in (read_text(root / "proc/sys/kernel/osrelease") or "").lower():
        return "wsl"
    for name, kind in _MARKS:
        if (root / name).exists():
            return kind
    told = _told_by_manager(root)
    if told is not None:
        return told
    groups = read_text(root / "proc/1/cgroup") or ""
    for word, kind in _GROUPS:
        if word in groups:
            return kind
    # systemd runs as the first process of a container too, but then its manager told us above.
    # A layered root may be a container, or a card that is protected against writing.
    if _paths(groups) & {_FIRST_GROUP} and _root_file_system(root) not in _LAYERED:
        return ""
    return None


def _told_by_manager(root: Path) -> str | None:
    """By the container interface of systemd, which most managers follow."""
    if kind := read_text(root / "run/systemd/container"):
        return kind
    # NULs between the entries come as spaces. Readable for root alone.
    for entry in (read_text(root / "proc/1/environ") or "").split():
        name, _, value = entry.partition("=")
        if name == "container" and value:
            return value
    return None


def _paths(groups: str) -> set[str]:
    """Paths of lines of "number:controllers:path"."""
    return {line.split(":", 2)[2] for line in groups.splitlines() if line.count(":") >= 2}


def _root_file_system(root: Path) -> str | None:
    """From lines of "id parent major:minor from / options tags - type source options"."""
    for line in (read_text(root / "proc/1/mountinfo") or "").splitlines():
        mount, dash, described = line.partition(" - ")
        if dash and mount.split()[4:5] == ["/"]:
            return described.split()[0]
    return None
