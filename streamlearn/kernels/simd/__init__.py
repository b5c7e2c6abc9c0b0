"""What every kernel is written with: lanes of sixteen float32, elementary functions, random numbers, ordered
sums and views. No learning rule."""
