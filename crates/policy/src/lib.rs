//! situs-policy
