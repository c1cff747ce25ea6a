"""Memory plan: lifetimes to fixed addresses in one arena per memory, and an independent check of the result."""
