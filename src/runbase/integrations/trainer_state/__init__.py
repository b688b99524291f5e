"""trainer_state.json of transformers' Trainer: its reader, and the names of metrics that the callback shares with it."""
