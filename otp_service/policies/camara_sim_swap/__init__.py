"""CAMARA SIM Swap: no SMS to a number whose SIM was changed lately."""
