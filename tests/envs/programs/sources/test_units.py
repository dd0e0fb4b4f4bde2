"""Compiling units without their package's build: what helps them, what stops them, and that they reach nothing."""

import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from debian_archive import write_headers

from compiler_dojo.envs.errors import InvalidConfigError, ToolchainError
from compiler_dojo.envs.llvm.lowering import find_clang
from compiler_dojo.envs.llvm.sandbox import without_network
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.tree import SourceTree
from compiler_dojo.envs.programs.sources.units import CompileLimits, UnitCompiler, UnitResult

# takes 2 ** 40 instantiations
TEMPLATES = """template <unsigned long N, unsigned long M> struct F {
  static const unsigned long v = F<N - 1, 2 * M>::v + F<N - 1, 2 * M + 1>::v; };
template <unsigned long M> struct F<0, M> { static const unsigned long v = 1; };
unsigned long x = F<40, 1>::v;
"""

# 32,768 numbers
ARRAY = """#define A 1,2,3,4,5,6,7,8,
#define B A A A A A A A A A A A A A A A A
#define C B B B B B B B B B B B B B B B B
#define D C C C C C C C C C C C C C C C C
int array[] = { D };
"""


@pytest.fixture
def compile_one(make_tree) -> Callable[..., UnitResult]:
    """Compile the unit that comes first of these files."""

    def run(files: dict[str, str], limits: CompileLimits | None = None) -> UnitResult:
        return UnitCompiler(make_tree(files), limits=limits).compile(next(iter(files)))

    return run


def test_plain_unit__compiles_at_the_first_try(compile_one) -> None:
    result = compile_one({"a.c": '#include <stdio.h>\nint main(void) { return printf("x"); }\n'})
    assert result[1:] == ("", "", 1)
    assert result.module is not None
    assert result.module.startswith(b"BC")


@pytest.mark.parametrize("template", ["config.h.in", "config.h.cmake", "config.h.meson", "sub/config.hin"])
def test_unit__gets_the_configuration_that_its_template_asks_for(compile_one, template) -> None:
    line = {"cmake": "#cmakedefine HAVE_STRING_H 1", "meson": "#mesondefine HAVE_STRING_H"}.get(
        template.rsplit(".", 1)[-1], "#undef HAVE_STRING_H"
    )
    source = (
        '#ifdef HAVE_CONFIG_H\n#include "config.h"\n#endif\n#ifndef HAVE_STRING_H\n#error not asked\n#endif\nint a;\n'
    )
    assert compile_one({"a.c": source, template: line + "\n"}).reason == ""


def test_unit__without_any_configuration_gets_a_general_one(compile_one) -> None:
    result = compile_one({"a.c": '#include "my_config.h"\n#ifndef HAVE_STRING_H\n#error no\n#endif\nint a;\n'})
    assert result.reason == ""


def test_unit__may_lack_headers_prelude_and_portability(compile_one) -> None:
    result = compile_one({"a.c": "size_t f(const char *s) { return strlen(s) + O_BINARY; }\n"})
    assert result.reason in ("", "missing header")  # of the prelude's headers most are not here


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("#include <no/such.h>\n", "missing header"),
        ("#error not for this machine\n", "#error"),
        ("int f(void) { return x; }\n", "missing header"),  # the second try's prelude is not here
        ("int f( { }\n", "syntax"),
        ("int f(void) { return 1 }", "syntax"),
        ("int f(int); double f(int);", "other"),
    ],
)
def test_unit__that_does_not_compile_says_why(compile_one, source, reason) -> None:
    result = compile_one({"a.c": source})
    assert (result.module, result.reason) == (None, reason)
    assert result.detail


def test_time_out__is_counted_and_leaves_nothing(compile_one) -> None:
    result = compile_one({"a.cc": TEMPLATES}, CompileLimits(seconds=1.0))
    assert (result.module, result.reason, result.detail, result.tries) == (None, "time-out", "more than 1 s", 1)


def test_pipe_that_is_included__is_a_time_out(compile_one, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.h")
    result = compile_one({"a.c": f'#include "{tmp_path}/pipe.h"\n'}, CompileLimits(seconds=1.0))
    assert result.reason == "time-out"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/stdin", "/dev/null"])
def test_device_that_is_included__ends(compile_one, device) -> None:
    result = compile_one({"a.c": f'#include "{device}"\nint a;\n'}, CompileLimits(seconds=3.0))
    assert result.tries == 1


def test_memory__is_limited_and_the_crash_leaves_no_files(compile_one, monkeypatch, tmp_path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("TMPDIR", str(scratch))
    result = compile_one({"a.cc": TEMPLATES}, CompileLimits(seconds=60.0, memory=350 << 20))
    assert (result.module, result.reason) == (None, "compiler crash or out of memory")
    assert list(scratch.iterdir()) == []


def test_output__is_limited(compile_one) -> None:
    assert compile_one({"a.c": ARRAY}).reason == ""
    result = compile_one({"a.c": ARRAY}, CompileLimits(output=1 << 12))
    assert (result.module, result.reason) == (None, "too much bitcode")


@pytest.mark.parametrize("name", ["a b.c", "-o.c", "a;b$(c).c", "é.c", "sub dir/@x.c"])
def test_unit__may_have_a_strange_name(compile_one, name) -> None:
    assert compile_one({name: "int f(int x) { return x; }\n"}).reason == ""


def test_unit__that_is_not_there_does_not_compile(make_tree) -> None:
    assert UnitCompiler(make_tree({"a.c": ""})).compile("b.c").module is None


@pytest.mark.parametrize("name", ["x/../../../escaped_config.h", "../escaped_config.h", "a\0config.h"])
def test_configuration__is_made_nowhere_but_in_the_tree(compile_one, tmp_path, name) -> None:
    result = compile_one({"a.c": f'#include "{name}"\n'})
    assert result.module is None
    assert not list(tmp_path.rglob("*escaped*"))


SELF = """#include <assert.h>
#include <glow/glow.h>
#include "inner.h"
const char *when = __DATE__ __TIME__ __TIMESTAMP__, *file = __FILE__, *base = __FILE_NAME__, *built = __builtin_FILE();
const char *all(int x) { assert(x); return x > 1 ? where() : x > 2 ? glow_file() : inner(); }
"""


def test_bitcode__depends_on_neither_folders_nor_times(tmp_path, monkeypatch) -> None:
    modules = set()
    for number in range(2):
        folder = tmp_path / f"place-{'x' * 40 * number}"
        tree = write_headers(
            folder / "tree",
            {"src/a.c": SELF, "include/inner.h": "static const char *inner(void) { return __FILE__; }\n"},
        )
        os.utime(tree / "src" / "a.c", (number * 1e9, number * 1e9))
        (folder / "tmp").mkdir()
        monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        monkeypatch.setenv("CPATH", str(tree))
        monkeypatch.setenv("LANG", ("C", "de_DE.UTF-8")[number])
        headers = Headers(write_headers(folder / "headers"))
        result = UnitCompiler(SourceTree(tree, headers)).compile("src/a.c")
        assert result.module is not None, result
        modules.add(result.module)
    (module,) = modules
    with CompilerSession(module) as session:
        text = session.ir()
    assert "include/inner.h" in text
    assert 'c"/usr/include/assert.h' in text
    assert 'c"/usr/include/glow-2.0/glow/glow.h' in text
    assert "Jan  1 1970" in text
    for word in ("place-", str(tmp_path), os.getcwd(), "/home/", "/root/"):
        assert word not in text


def test_headers_by_a_relative_path__are_found(tmp_path, monkeypatch, make_tree) -> None:
    write_headers(tmp_path / "headers")
    monkeypatch.chdir(tmp_path)
    tree = make_tree({"a.c": "#include <stdio.h>\nint a;\n"}, headers=Headers(Path("headers")))
    assert UnitCompiler(tree).compile("a.c").reason == ""


def test_headers_of_the_machine__are_not_seen(compile_one) -> None:
    assert Path("/usr/include/elf.h").exists()
    result = compile_one({"a.c": "#include <elf.h>\n"})
    assert (result.reason, result.detail) == ("missing header", "elf.h")


def test_compiler__has_no_network(make_tree, run_python, tmp_path) -> None:
    if not without_network():
        pytest.skip("the system allows no network namespaces")
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls: list[object] = []

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    calls.append(server.accept()[0].close())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        clang = tmp_path / "clang"
        clang.write_text(
            f'#!/bin/bash\n[ "$1" = --version ] || {{ (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && exit 99; }}\n'
            f'exec {find_clang()} "$@"\n'
        )
        clang.chmod(0o755)
        tree = make_tree({"a.c": "int a;\n"})
        script = f"""
import subprocess
from pathlib import Path
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.tree import SourceTree
from compiler_dojo.envs.programs.sources.units import UnitCompiler
tree = SourceTree(Path({str(tree.root)!r}), Headers(Path({str(tree.headers.root)!r})))
result = UnitCompiler(tree).compile("a.c")
assert result.module and result.tries == 1, result
assert subprocess.run([{str(clang)!r}]).returncode == 99  # it does get through where nothing keeps it
"""
        done = run_python(script, DOJO_CLANG=str(clang))
        assert done.returncode == 0, done.stderr
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert len(calls) == 1


def test_time_out__ends_what_the_compiler_started(make_tree, run_python, tmp_path) -> None:
    seconds = f"600.{os.getpid():09}"  # by which the process is known
    clang = tmp_path / "clang"
    clang.write_text(f'#!/bin/bash\n[ "$1" = --version ] && exec {find_clang()} "$@"\nsleep {seconds} & wait\n')
    clang.chmod(0o755)
    tree = make_tree({"a.c": "int a;\n"})
    script = f"""
from pathlib import Path
from compiler_dojo.envs.programs.sources.headers import Headers
from compiler_dojo.envs.programs.sources.tree import SourceTree
from compiler_dojo.envs.programs.sources.units import CompileLimits, UnitCompiler
tree = SourceTree(Path({str(tree.root)!r}), Headers(Path({str(tree.headers.root)!r})))
assert UnitCompiler(tree, limits=CompileLimits(seconds=0.5)).compile("a.c").reason == "time-out"
"""
    done = run_python(script, DOJO_CLANG=str(clang))
    assert done.returncode == 0, done.stderr
    time.sleep(0.1)
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_readable(path)]
    assert not [command for command in commands if seconds.encode() in command]


def _is_readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def test_lowering__that_is_not_known_is_refused(make_tree) -> None:
    with pytest.raises(InvalidConfigError, match="unknown lowering 'o9'"):
        UnitCompiler(make_tree({"a.c": ""}), "o9")


def test_prlimit__that_is_missing_is_named(make_tree, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    find_clang()  # found before
    with pytest.raises(ToolchainError, match="apt-get install util-linux"):
        UnitCompiler(make_tree({"a.c": ""}))
