"""Pages of HTML to listen to: one file each, which needs no network and no server."""
