"""Environments, and everything that knows what a compiler is.

Importing this package registers the environment ids (as strings: nothing is loaded until one is made).
"""

import gymnasium as gym

PASS_ORDERING_ID = "CompilerDojo/PassOrdering-v0"
LOOP_SCHEDULE_ID = "CompilerDojo/LoopSchedule-v0"

gym.register(
    id=PASS_ORDERING_ID,
    entry_point="compiler_dojo.envs.pass_ordering:PassOrderingEnv",
    vector_entry_point="compiler_dojo.envs.pass_ordering_vector:PassOrderingVectorEnv",
)
gym.register(id=LOOP_SCHEDULE_ID, entry_point="compiler_dojo.envs.loop_schedule:LoopScheduleEnv")


def __getattr__(name: str) -> object:
    """Load the environment classes when they are first asked for."""
    if name == "PassOrderingEnv":
        from compiler_dojo.envs.pass_ordering import PassOrderingEnv

        return PassOrderingEnv
    if name == "LoopScheduleEnv":
        from compiler_dojo.envs.loop_schedule import LoopScheduleEnv

        return LoopScheduleEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["LOOP_SCHEDULE_ID", "PASS_ORDERING_ID", "LoopScheduleEnv", "PassOrderingEnv"]
