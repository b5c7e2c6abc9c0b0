"""Builds and runs a Containerfile without a container engine: in a chroot that debootstrap makes, as root.

``make container-check`` runs it. It does what an engine does with the instructions of our Containerfile: each
stage is a copy of the base, RUN is a command in it, and the image runs read-only, as its own user, as the
first process of its own namespace. It does not separate networks. Other instructions are errors.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser

DEBIAN = re.compile(r"debian:(\w+)-slim").fullmatch
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NO_MEANING = {"COMMENT", "EXPOSE", "VOLUME"}  # nothing happens at a build
HOST_FILES = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt")  # for the network


@dataclass
class Stage:
    """A stage of a Containerfile: its root directory and what the instructions said so far."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    args: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"

    def start(
        self, command: Sequence[str], binds: dict[Path, str], **variables: str
    ) -> subprocess.Popen[str]:
        """Start ``command`` as an engine with ``--read-only --tmpfs /tmp`` does; ``binds`` can be written."""
        mounts = [
            f"mount --bind {self.root} {self.root}",
            f"mount -t proc proc {self.root}/proc",
            f"mount -t tmpfs tmpfs {self.root}/tmp",
            f"mount --bind /dev {self.root}/dev",
            *(f"mount --bind {source} {self.root}{target}" for source, target in binds.items()),
            f"mount -o remount,ro,bind {self.root}",
        ]
        inside = f"cd {self.workdir} && exec {shlex.join(command)}"
        run = ["chroot", f"--userspec={self.user}", str(self.root), "/bin/sh", "-c", inside]
        script = " && ".join([*mounts, f"exec {shlex.join(run)}"])
        return subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
            env=self.env | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str) -> None:
        """Run a RUN instruction."""
        inside = f"cd {self.workdir} && {command}"
        chroot = ["chroot", f"--userspec={self.user}", str(self.root), "/bin/sh", "-c", inside]
        mount = f"mount -t proc proc {self.root}/proc && mount --bind /dev {self.root}/dev"
        env = self.env | self.args | {"PIP_CERT": HOST_FILES[1]}
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", f"{mount} && {shlex.join(chroot)}"], env=env, check=True
        )


def build(file: Path, context: Path, work: Path, args: dict[str, str]) -> Stage:
    """Build the last stage of ``file`` under the directory ``work``.

    Raises
    ------
    NotImplementedError
        If the file has an instruction that is not one of those of our Containerfile.
    subprocess.CalledProcessError
        If a command fails.
    """
    stages: dict[str, Stage] = {}
    stage = Stage(work)
    for each in _instructions(file):
        name, value = each["instruction"], each["value"]
        print(f"== {name} {value}", flush=True)  # noqa: T201
        if name == "FROM":
            image, _, label = value.partition(" AS ")
            stage = Stage(_copy_of_base(image, work / f"stage-{len(stages)}", work))
            stages[label or str(len(stages))] = stage
        else:
            _apply(stage, name, value, stages, context, file, args)
    return stage


def _apply(
    stage: Stage,
    name: str,
    value: str,
    stages: dict[str, Stage],
    context: Path,
    file: Path,
    args: dict[str, str],
) -> None:
    match name:
        case "RUN":
            stage.run(value)
        case "ENV":
            for pair in shlex.split(value):
                key, _, text = pair.partition("=")
                stage.env[key] = re.sub(r"\$(\w+)", lambda found: stage.env.get(found[1], ""), text)
        case "ARG":
            key, _, default = value.partition("=")
            stage.args[key] = args.get(key, default.strip('"'))
        case "WORKDIR":
            stage.workdir = value
            (stage.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            stage.user = value
        case "COPY":
            _copy(stage, value.split(), stages, context, file)
        case "STOPSIGNAL":
            stage.stop_signal = value
        case "HEALTHCHECK":
            stage.health = json.loads(value.split(" CMD ")[1])
        case "ENTRYPOINT":
            stage.entrypoint = json.loads(value)
        case "CMD":
            stage.command = json.loads(value)
        case _ if name not in NO_MEANING:
            raise NotImplementedError(f"{file} has the instruction {name}, which is not known here")


def _copy(stage: Stage, words: list[str], stages: dict[str, Stage], context: Path, file: Path) -> None:
    *sources, target = words
    into = stage.root / str(Path(stage.workdir, target)).lstrip("/")
    if sources[0].startswith("--from="):
        _, source = sources
        origin = stages[words[0].partition("=")[2]].root / source.lstrip("/")
        into.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(origin), str(into)], check=True)
        return
    ignored = file.with_name(f"{file.name}.dockerignore").read_text().split()
    for path in sorted(context.rglob("*")):
        relative = path.relative_to(context)
        if path.is_file() and included(relative, ignored):
            (into / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, into / relative)


def included(path: Path, patterns: Sequence[str]) -> bool:
    """Whether a .dockerignore file with ``patterns`` leaves ``path`` in the context.

    The last pattern that matches the path or one of its parents decides.
    """
    parts = [str(part) for part in (path, *path.parents)]
    parts += [f"**/{name}" for name in path.parts]
    result = True
    for pattern in patterns:
        if any(fnmatch.fnmatchcase(part, pattern.removeprefix("!")) for part in parts):
            result = pattern.startswith("!")
    return result


def _copy_of_base(image: str, root: Path, work: Path) -> Path:
    """Return ``root``, a copy of the Debian release that ``image`` names. debootstrap makes it once."""
    found = DEBIAN(image)
    if found is None:
        raise NotImplementedError(f"the base {image!r} is not known here; expected debian:RELEASE-slim")
    base = work / found[1]
    if not (base / "etc/debian_version").exists():
        subprocess.run(
            ["debootstrap", "--variant=minbase", found[1], str(base)], check=True, stdout=subprocess.DEVNULL
        )
    subprocess.run(["cp", "-a", str(base), str(root)], check=True)
    for name in HOST_FILES:
        if os.path.exists(name):
            (root / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, root / name.lstrip("/"))
    return root


def _instructions(file: Path) -> Iterator[dict[str, Any]]:
    with file.open("rb") as content:
        yield from DockerfileParser(fileobj=content, build_args={}).structure
