"""Learning loops: pretraining before deployment, and adaptation on the device and its PyTorch reference."""
