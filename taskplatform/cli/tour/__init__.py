"""What `taskplatform demo` shows, scene by scene."""
