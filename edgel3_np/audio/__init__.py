"""From a recording to windows: read, check, resample, cut."""
