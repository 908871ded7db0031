//! situs-decode
