//! situs-observe
