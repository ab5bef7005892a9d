"""How models reach this box, and how publishers offer them: packages, carriers, trust, store."""
