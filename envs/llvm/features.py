"""Names of the features, in the order in which :class:`~compiler_dojo.envs.llvm.session.CompilerSession` gives them."""

from __future__ import annotations

AUTOPHASE_NAMES: tuple[str, ...] = (
    "blocks_phi_values_over_5", "blocks_phi_values_1_to_5", "blocks_1_pred", "blocks_1_pred_1_succ",
    "blocks_1_pred_2_succ", "blocks_1_succ", "blocks_2_pred", "blocks_2_pred_1_succ", "blocks_2_pred_2_succ",
    "blocks_2_succ", "blocks_over_2_pred", "blocks_1_to_3_phis", "blocks_over_3_phis", "blocks_no_phi",
    "blocks_begin_with_phi", "branches", "calls_returning_int", "critical_edges", "edges", "const_int32", "const_int64",
    "const_zero", "const_one", "unconditional_branches", "binary_with_constant", "ashr", "add", "alloca", "and",
    "blocks_15_to_500_instructions", "blocks_under_15_instructions", "bitcast", "br", "call", "getelementptr", "icmp",
    "lshr", "load", "mul", "or", "phi", "ret", "sext", "select", "shl", "store", "sub", "trunc", "xor", "zext",
    "blocks", "instructions", "memory_instructions", "functions", "phi_values", "unary",
)  # fmt: skip
"""Autophase (arXiv 2003.00671), 56 features in the order of its reference implementation."""

INSTCOUNT_NAMES: tuple[str, ...] = (
    "instructions", "blocks", "functions",
    "ret", "br", "switch", "indirectbr", "invoke", "resume", "unreachable", "cleanupret", "catchret", "catchswitch",
    "callbr", "fneg", "add", "fadd", "sub", "fsub", "mul", "fmul", "udiv", "sdiv", "fdiv", "urem", "srem", "frem",
    "shl", "lshr", "ashr", "and", "or", "xor", "alloca", "load", "store", "getelementptr", "fence", "cmpxchg",
    "atomicrmw", "trunc", "zext", "sext", "fptoui", "fptosi", "uitofp", "sitofp", "fptrunc", "fpext", "ptrtoint",
    "inttoptr", "bitcast", "addrspacecast", "cleanuppad", "catchpad", "icmp", "fcmp", "phi", "call", "select",
    "userop1", "userop2", "va_arg", "extractelement", "insertelement", "shufflevector", "extractvalue", "insertvalue",
    "landingpad", "freeze",
)  # fmt: skip
"""LLVM's InstCount: totals, then one count per opcode in the order of Instruction.def."""
