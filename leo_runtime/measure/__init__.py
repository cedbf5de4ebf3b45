"""What stages cost on this machine: calibration, energy, tuning, and the audio bench."""
