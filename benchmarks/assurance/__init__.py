"""The assurance pack: what `make assurance` finds out about the generated C. docs/assurance.md has the figures."""
