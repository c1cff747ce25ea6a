"""What targets share: tools and how they are found, ELF files, the build cache, sessions, the exchange of data."""
