"""Looks for proofs and counterexamples. May be wrong and costs only time: the kernel looks at whatever it finds."""
