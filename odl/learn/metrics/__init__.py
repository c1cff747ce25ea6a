"""Figures of learning and forgetting; each says what it means, and has a test that it can tell a fake."""
