"""Object code of modules that need care: computed gotos and assembly."""

import shutil
import subprocess

import pytest

from compiler_dojo.envs.llvm.execution import build_executable, run_executable
from compiler_dojo.envs.llvm.lowering import lower
from compiler_dojo.envs.llvm.session import CompilerSession
from compiler_dojo.envs.programs import RunSpecification

INTERPRETER = """
#include <stdio.h>
static int run(const char *code) {
  static const void *const table[] = {&&add, &&triple, &&stop};
  int x = 1;
  goto *table[(int)*code++];
add: x += 1; goto *table[(int)*code++];
triple: x *= 3; goto *table[(int)*code++];
stop: return x;
}
int main(void) {
  const char code[] = {0, 1, 0, 1, 2};
  return printf("%d\\n", run(code)) < 0;
}
"""

ASSEMBLY = """
#include <stdio.h>
__asm__(".globl seven\\nseven: mov $7, %eax\\nret\\n");
int seven(void);
int main(void) {
  int x = seven();
  __asm__ volatile("addl $5, %0" : "+r"(x) : : "cc");
  return printf("%d\\n", x) < 0;
}
"""


@pytest.mark.parametrize("pipeline", ["", "default<Oz>", "default<O3>"])
@pytest.mark.parametrize(("source", "output"), [(INTERPRETER, "21\n"), (ASSEMBLY, "12\n")], ids=["goto", "assembly"])
def test_object_code__runs(tmp_path, source, output, pipeline) -> None:
    path = tmp_path / "unit.c"
    path.write_text(source)
    with CompilerSession(lower(path)) as session:
        if pipeline:
            session.run(pipeline)
        before = session.hash()
        size = session.text_size()
        with session.fork() as fork:
            assert fork.text_size() == size > 0
        with build_executable(session) as executable:
            assert run_executable(executable, RunSpecification()).output == output
        session.verify()
        assert session.hash() == before


@pytest.mark.skipif(shutil.which("llc-19") is None, reason="llc 19 is not installed")
def test_object_code__of_computed_gotos_is_llc_s(tmp_path) -> None:
    path = tmp_path / "unit.c"
    path.write_text(INTERPRETER)
    with CompilerSession(lower(path)) as session:
        session.run("default<Oz>")
        if session.llvm_version.split(".")[0] != "19":
            pytest.skip("another LLVM is loaded")
        (tmp_path / "unit.bc").write_bytes(session.bitcode())
        ours = session.object_code()
    command = ["llc-19", "-O2", "-relocation-model=pic", "-mcpu=x86-64", "-filetype=obj", "unit.bc", "-o", "unit.o"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert ours == (tmp_path / "unit.o").read_bytes()
