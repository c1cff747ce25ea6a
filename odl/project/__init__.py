"""What a compiled project is: network, manifest, byte layout, programs and entry points."""
