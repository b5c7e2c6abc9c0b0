"""The installed client: header, libraries, pkg-config and CMake, as a user's program finds them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from clients.suite.trial import Daemon
from streamlearn_client import __version__
from tests.clients_c.programs import C, output_of
from tests.documents import blocks

WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic")
PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(user LANGUAGES C)
find_package(streamlearn REQUIRED)
add_executable(shared program.c)
target_link_libraries(shared PRIVATE streamlearn::streamlearn)
add_executable(static program.c)
target_link_libraries(static PRIVATE streamlearn::streamlearn_static)
"""


@pytest.fixture(scope="module")
def prefix(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the installed files, so that nothing is found in the build by accident."""
    found = tmp_path_factory.mktemp("prefix") / "usr"
    shutil.copytree(plain / "prefix", found, symlinks=True)
    pc = found / "lib/pkgconfig/streamlearn.pc"
    pc.write_text(re.sub(r"^prefix=.*", f"prefix={found}", pc.read_text(), flags=re.MULTILINE))
    return found


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of docs/reference/c.md."""
    (block,) = (each for each in blocks("docs/reference/c.md") if each.language == "c")
    path = tmp_path_factory.mktemp("program") / "program.c"
    path.write_text(block.source)
    return path


def pushes_a_sample(command: Path, daemon: Daemon, libraries: Path) -> None:
    with daemon.client() as client:
        client.create("pump", "som", dim=4, grid=[4, 4])
        try:
            environment = {"STREAMLEARN_ENDPOINT": daemon.requests, "LD_LIBRARY_PATH": str(libraries)}
            assert output_of(command, environment=environment) == ""
            assert client.describe("pump")["samples"] == 1
        finally:
            client.delete("pump")


def test_a_program_that_finds_it_with_pkg_config(prefix, program, daemon, tmp_path):
    environment = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    for linking, command in (
        ("shared", "cc $0 -o $1 $(pkg-config --cflags --libs streamlearn)"),
        (
            "static",
            "cc $0 -o $1 $(pkg-config --cflags streamlearn)"
            " $(pkg-config --variable=libdir streamlearn)/libstreamlearn.a $(pkg-config --libs libzmq) -lm",
        ),
    ):
        output_of("sh", "-c", command, program, tmp_path / linking, environment=environment)
        pushes_a_sample(tmp_path / linking, daemon, prefix / "lib")
    needed = output_of("ldd", tmp_path / "static")
    assert "libzmq" in needed
    assert "libstreamlearn" not in needed


def test_a_program_that_finds_it_with_cmake(prefix, program, daemon, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(PROJECT)
    shutil.copy(program, tmp_path / "program.c")
    output_of("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    output_of("cmake", "--build", tmp_path / "build")
    for linking in ("shared", "static"):
        pushes_a_sample(tmp_path / "build" / linking, daemon, prefix / "lib")


def test_the_header_is_complete_and_valid_in_cpp(prefix, tmp_path):
    for name, compiler in (("header.c", ("cc", *WARNINGS)), ("header.cpp", ("c++", "-Wall", "-Werror"))):
        (tmp_path / name).write_text("#include <streamlearn.h>\n")
        output_of(*compiler, "-fsyntax-only", f"-I{prefix}/include", tmp_path / name)


def test_the_libraries_have_the_functions_of_the_header_and_no_other_names(prefix):
    header = (prefix / "include/streamlearn.h").read_text()
    declared = set(re.findall(r"\b(sl_[a-z0-9_]+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)))
    symbols = output_of("nm", "-D", "--defined-only", prefix / "lib/libstreamlearn.so")
    assert {line.split()[-1] for line in symbols.splitlines()} == declared
    lines = output_of("nm", "--defined-only", "--extern-only", prefix / "lib/libstreamlearn.a").splitlines()
    names = {line.split()[-1] for line in lines if len(line.split()) == 3}
    assert declared < names
    assert all(name.startswith("sl_") for name in names)


def test_the_page_names_functions_that_exist_and_the_versions_are_equal():
    header = (C / "include/streamlearn.h").read_text()
    version = re.search(r'#define SL_VERSION "(.*)"', header)
    assert version
    assert version[1] == __version__
    assert f"VERSION {version[1]} " in (C / "CMakeLists.txt").read_text()
    page = (C.parents[1] / "docs/reference/c.md").read_text()
    for name in re.findall(r"`(sl_[a-z0-9_]+)", page):
        assert re.search(rf"\b{name}\b", header), f"docs/reference/c.md names {name}, which does not exist"
