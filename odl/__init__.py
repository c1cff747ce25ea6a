"""odl: on-device learning for microcontrollers; a PyTorch model in, C that trains it out."""
