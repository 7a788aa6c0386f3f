"""Fuzzing: random changes of valid inputs, each checked in a worker process with limits on time and memory.

    mutators    random changes of bytes, texts and JSON values
    protobuf    random changes of protobuf messages
    target      what a target is; the rules for messages
    sounds, models, cards, tables, recipes, annotations, indexes   the targets
    faulty      a target with known faults, to test the runner
    runner      runs a target in worker processes and collects the findings

``benchmarks/fuzz.py`` is the command, ``tests/system/test_fuzz.py`` a short run.
"""
