"""What a model file is looked at for before any native code may parse it: pure Python, nothing is copied."""
