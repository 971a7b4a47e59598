"""Commands beside the main job: demo, doctor, support bundle, models."""
