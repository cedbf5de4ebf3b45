"""What is measured: what stages cost on this machine (calibration, energy, tuning, the audio bench), and what smaller
forms of a model lose and cost, on inputs from files and recordings."""
