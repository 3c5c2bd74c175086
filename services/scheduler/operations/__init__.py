"""Operations of users: the gRPC service Mesh."""
