//! situs-store
