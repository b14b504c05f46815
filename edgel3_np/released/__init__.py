"""Download, check, convert and install the released models. Converting needs h5py (extra `convert`)."""
