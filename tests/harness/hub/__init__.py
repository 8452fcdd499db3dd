"""A stand-in for the Hugging Face Hub: its HTTP protocol as huggingface_hub uses it, faults on demand."""
