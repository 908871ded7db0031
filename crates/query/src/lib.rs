//! situs-query
