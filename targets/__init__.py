"""One folder per target: description, runtime, build and run."""
