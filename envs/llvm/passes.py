"""The action table: LLVM passes that keep a program's meaning, in a fixed order, and the ones left out with the reason.

The order is part of the interface: an action index means the same pass in every run of the same
:data:`TABLE_VERSION`. New passes are appended; removing or changing one bumps the version of the environment ids.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from compiler_dojo.envs.errors import UnknownPassError, did_you_mean

TABLE_VERSION = 2

Scope = Literal["module", "cgscc", "function", "loop", "loop-mssa"]

_NESTING: dict[Scope, str] = {
    "module": "{}",
    "cgscc": "cgscc({})",
    "function": "function({})",
    "loop": "function(loop({}))",
    # licm, lnicm and simple-loop-unswitch need MemorySSA
    "loop-mssa": "function(loop-mssa({}))",
}


class Pass(NamedTuple):
    """One action.

    Attributes:
        name: the text of ``opt -passes=`` without its nesting; unique in the table.
        scope: the pass manager it belongs to.
        pipeline: the nested text, ready to be joined with others by commas.
    """

    name: str
    scope: Scope

    @property
    def pipeline(self) -> str:
        """The text to give to ``opt -passes=``, also as part of a longer list."""
        return _NESTING[self.scope].format(self.name)


def _table(**names: str) -> tuple[Pass, ...]:
    scopes: dict[str, Scope] = {scope.replace("-", "_"): scope for scope in _NESTING}
    return tuple(Pass(name, scopes[key]) for key, text in names.items() for name in text.split())


PASSES: tuple[Pass, ...] = _table(
    module="""
        always-inline called-value-propagation constmerge deadargelim elim-avail-extern globaldce globalopt
        globalsplit hotcoldsplit inferattrs ipsccp ipsccp<no-func-spec> iroutliner mergefunc module-inline
        partial-inliner rel-lookup-table-converter rpo-function-attrs strip-dead-prototypes
    """,
    cgscc="argpromotion function-attrs inline",
    function="""
        adce aggressive-instcombine alignment-from-assumptions bdce break-crit-edges callsite-splitting consthoist
        constraint-elimination correlated-propagation dce dfa-jump-threading div-rem-pairs dse early-cse
        early-cse<memssa> expand-memcmp fix-irreducible flatten-cfg float2int gvn gvn<no-pre;no-load-pre> gvn-hoist
        infer-alignment instcombine<no-verify-fixpoint> instcombine<no-verify-fixpoint;max-iterations=1>
        instsimplify jump-table-to-switch jump-threading lcssa libcalls-shrinkwrap load-store-vectorizer
        loop-distribute loop-fusion loop-load-elim loop-simplify loop-sink loop-unroll loop-unroll<O1> loop-vectorize
        loop-versioning lower-constant-intrinsics lower-expect lower-switch mem2reg memcpyopt mergeicmps mergereturn
        mldst-motion nary-reassociate partially-inline-libcalls reassociate reg2mem sccp
        separate-const-offset-from-gep simplifycfg simplifycfg<no-keep-loops;sink-common-insts;hoist-common-insts>
        simplifycfg<sink-common-insts;hoist-common-insts> simplifycfg<forward-switch-cond;switch-range-to-icmp>
        simplifycfg<switch-range-to-icmp;switch-to-lookup;no-keep-loops>
        simplifycfg<bonus-inst-threshold=4;no-keep-loops> sink slp-vectorizer slsr speculative-execution sroa
        sroa<preserve-cfg> tailcallelim typepromotion vector-combine
    """,
    loop="""
        canon-freeze indvars loop-bound-split loop-deletion loop-flatten loop-idiom loop-instsimplify loop-interchange
        loop-predication loop-reduce loop-rotate loop-rotate<no-header-duplication> loop-simplifycfg
        loop-unroll-and-jam loop-unroll-full loop-versioning-licm
    """,
    loop_mssa="licm lnicm simple-loop-unswitch simple-loop-unswitch<nontrivial>",
)


# What -Oz is made of, and what shrinks code beyond it; without passes that mostly make code larger. Uniformly random
# lists of 45 end at 0.989 of -Oz with these and at 0.888 with all passes (geomean over the held-out bundled programs:
# `dojo evaluate --agent random --episodes 3 --set start=Oz --set passes=size`).
_SIZE_PASSES = """
    adce aggressive-instcombine argpromotion bdce constmerge constraint-elimination correlated-propagation deadargelim
    dse early-cse<memssa> function-attrs globaldce globalopt gvn gvn<no-pre;no-load-pre> gvn-hoist indvars
    inferattrs inline instcombine<no-verify-fixpoint> instsimplify ipsccp iroutliner jump-threading licm loop-deletion
    loop-idiom loop-instsimplify loop-rotate<no-header-duplication> loop-simplifycfg loop-unroll-full mem2reg memcpyopt
    mergefunc mergeicmps mldst-motion reassociate rpo-function-attrs sccp simple-loop-unswitch simplifycfg
    simplifycfg<bonus-inst-threshold=4;no-keep-loops> simplifycfg<no-keep-loops;sink-common-insts;hoist-common-insts>
    simplifycfg<sink-common-insts;hoist-common-insts> simplifycfg<switch-range-to-icmp;switch-to-lookup;no-keep-loops>
    sink slp-vectorizer sroa tailcallelim vector-combine
"""

PASS_SETS: dict[str, tuple[str, ...]] = {
    "all": tuple(item.name for item in PASSES),
    "size": tuple(_SIZE_PASSES.split()),
}
"""Named parts of the table that ``passes=`` takes."""

_EXCLUDED_BY_REASON: dict[str, str] = {
    # they change what the program means, or what others may expect of it
    "drops public symbols": "internalize strip strip-nondebug metarenamer",
    "makes atomic operations plain ones: wrong as soon as there are threads": "lower-atomic",
    "drops exception handling": "lower-invoke",
    "a tool for reducing test cases": "loop-extract extract-blocks",
    "does what command-line options say": "forceattrs rewrite-symbols",
    "instruments the program": """
        asan msan tsan tsan-module hwasan nsan dfsan sancov-module sanmd-module kcfi cfguard bounds-checking memprof
        memprof-module insert-gcov-profiling ee-instrument jmc-instrumenter poison-checking pseudo-probe
        trigger-crash-module trigger-crash-function ctx-instr-lower instrprof pgo-instr-gen
    """,
    # they break programs
    "leaves invalid IR behind (canonical_huffman, LLVM 19.1.7)": "unify-loop-exits",
    "not deterministic: depends on the addresses of values (LLVM 10 to 19)": "gvn-sink",
    "made for GPUs; known to miscompile irreducible control flow": "structurizecfg",
    # found with glibc's MALLOC_PERTURB_ on random pass lists (LLVM 19.1.7): once in about 10,000 steps
    "uses freed memory and corrupts the heap": """
        attributor attributor-cgscc attributor-light attributor-light-cgscc
    """,
    # found by `dojo fuzz` (FUZZING.md): wrong output of csmith and bundled programs, after dse for instance
    "miscompiles (LLVM 19.1.7)": "newgvn",
    # found by `dojo fuzz` (FUZZING.md): 43 crashes in 150,000 steps (LLVM 19.1.7)
    "reads and writes beyond a vector's elements when an index is out of range": "scalarizer",
    # the agent is paid for finding pipelines, and the budget counts passes
    "a whole pipeline: the inliner with -Oz's function simplification": "scc-oz-module-inliner",
    # they need what a plain compilation does not have
    "part of the code generator, which runs it itself": """
        atomic-expand callbr-prepare codegenprepare dwarf-eh-prepare expand-large-div-rem expand-large-fp-convert
        expand-variadics global-merge indirectbr-expand interleaved-access interleaved-load-combine lower-emutls
        lower-global-dtors lower-ifunc pre-isel-intrinsic-lowering safe-stack scalarize-masked-mem-intrin
        select-optimize sjlj-eh-prepare stack-protector tlshoist wasm-eh-prepare win-eh-prepare
    """,
    "link-time optimisation": """
        canonicalize-aliases cross-dso-cfi embed-bitcode function-import lowertypetests name-anon-globals
        wholeprogramdevirt
    """,
    "needs a profile": """
        chr memprof-use memprof-context-disambiguation pgo-force-function-attrs pgo-icall-prom pgo-instr-use
        pgo-memop-opt pseudo-probe-update sample-profile synthetic-counts-propagation instrorderfile cg-profile
    """,
    "for languages and targets that are not C and C++ on a CPU": """
        coro-cleanup coro-early coro-elide coro-split dxil-upgrade gc-lowering hardware-loops
        hipstdpar-interpose-alloc hipstdpar-select-accelerator-code infer-address-spaces lower-matrix-intrinsics
        objc-arc objc-arc-apelim objc-arc-contract objc-arc-expand openmp-opt openmp-opt-cgscc openmp-opt-postlink
        place-safepoints rewrite-statepoints-for-gc shadow-stack-gc-lowering strip-gc-relocates
        loop-idiom-vectorize
    """,
    "works on guards, which clang does not emit": """
        guard-widening irce lower-guard-intrinsic lower-widenable-condition lower-allow-check make-guards-explicit
    """,
    # they do nothing that a later pass could use
    "an analysis or a debugging aid": """
        aa-eval annotation-remarks annotation2metadata check-debugify count-visits debugify declare-to-assign dot-cfg
        helloworld instcount instnamer lint no-op-cgscc no-op-function no-op-loop no-op-loopnest no-op-module pa-eval
        print recompute-globalsaa transform-warning trigger-verifier-error verify view-cfg
    """,
    "touches debug info only": """
        add-discriminators redundant-dbg-inst-elim strip-dead-debug-info strip-debug-declare
        strip-nonlinetable-debuginfo
    """,
    "adds hints only": """
        assume-builder assume-simplify inject-tli-mappings loop-data-prefetch move-auto-init
    """,
    "a part of another pass in the table": "inliner-wrapper inliner-wrapper-no-mandatory-first function-simplification",
    "needs a trained model": "inliner-ml-advisor-release",
}

EXCLUDED: dict[str, str] = {name: why for why, names in _EXCLUDED_BY_REASON.items() for name in names.split()}
"""Transform passes of LLVM 19 that are no actions, and why."""

# How many passes default<Oz> runs on a module, each counted once: the names in what
# `opt -passes='default<Oz>' -print-pipeline-passes` prints, without adaptors, analyses and remarks (LLVM 19.1.7).
OZ_PASS_COUNT = 98


@functools.cache
def _by_name() -> dict[str, Pass]:
    return {item.name: item for item in PASSES}


def find_pass(name: str) -> Pass:
    """The pass of the table with this name.

    Raises:
        UnknownPassError: there is none; the message suggests the nearest.
    """
    try:
        return _by_name()[name]
    except KeyError:
        if name in EXCLUDED:
            raise UnknownPassError(f"pass {name!r} is not in the action table: {EXCLUDED[name]}") from None
        raise UnknownPassError(f"unknown pass {name!r}: {did_you_mean(name, _by_name())}") from None


def pipeline_text(passes: Iterable[Pass]) -> str:
    """The passes as one text for ``opt -passes=``."""
    return ",".join(item.pipeline for item in passes)


def select_passes(names: str | Sequence[str]) -> tuple[Pass, ...]:
    """The passes of a named set, or those that are named, in the order given.

    Raises:
        UnknownPassError: an unknown pass or set; the message suggests the nearest.
    """
    if isinstance(names, str):
        if names not in PASS_SETS:
            raise UnknownPassError(f"unknown pass set {names!r}: {did_you_mean(names, PASS_SETS)}; or give a list")
        names = PASS_SETS[names]
    return tuple(find_pass(name) for name in names)
