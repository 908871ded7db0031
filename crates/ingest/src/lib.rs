//! situs-ingest
