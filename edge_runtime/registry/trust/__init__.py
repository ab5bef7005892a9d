"""What is believed: TUF metadata, and the signed documents it vouches for. Pure."""
