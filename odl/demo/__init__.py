"""The main job from one end to the other: `python -m odl.demo` (`make demo`)."""
