"""The agent for targets where the native one cannot run (to be filled in)."""
import sys

sys.exit("diskdump: the Python agent is not part of this build yet")
