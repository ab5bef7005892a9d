"""From frames to results: which frame is judged by which model, what the judgement is, and where every frame went."""
