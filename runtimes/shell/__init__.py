"""Running commands of this machine, confined by what works here."""
