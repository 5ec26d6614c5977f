"""Technology, accelerator, study and training files that ship with spikeloop."""
