"""What a tree says: settings, the table of letters, ground sums and products, Gaussian laws, and the terms handed to the kernel."""
