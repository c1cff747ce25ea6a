"""Learning and forgetting: loops on a net or in PyTorch, methods, scenarios, metrics, experiments.

`loops` has pretraining and plain adaptation. A method (`methods`) and a scenario (`scenarios`) are one file each, found by
being there; methods see a network only through `trainer.Trainer`, so they run on every target and in PyTorch.
"""
