"""What developers run and users never see: wheels, documentation, guards of speed."""
