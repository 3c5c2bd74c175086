"""Files and folders: atomic writes, digests, copies of ranges, and full disks."""
